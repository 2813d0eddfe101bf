from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.errors import CatalogueError
from export.training.dataset.catalogue import Catalogue, read_catalogue
from export.training.dataset.tables import Columns


def labels_of(catalogue: Catalogue, attribute: str) -> list[str]:
    return sorted({row.labels[attribute] for row in catalogue.rows if attribute in row.labels})


def make_photos(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"a photo is not opened here")


def test_catalogue_takes_the_folder_of_a_photo_as_its_category(tmp_path: Path) -> None:
    make_photos(tmp_path, "dress/1.jpg", "dress/2.PNG", "hats/felt/3.webp", "hats/notes.txt", "hats/.hidden.jpg")
    catalogue = read_catalogue(tmp_path)
    assert [row.labels["category"] for row in catalogue.rows] == ["dress", "dress", "felt"]
    assert labels_of(catalogue, "category") == ["dress", "felt"]


def test_catalogue_reads_labels_products_and_gaps_of_a_table(tmp_path: Path) -> None:
    make_photos(tmp_path, "a.jpg", "b.jpg", "sub/c.jpg")
    (tmp_path / "shop.csv").write_text(
        "\ufeffimage,Brand Name,colour,product_id,split\n"
        'a.jpg,"Acme, Inc.",red,1,train\nb.jpg,,blue,1,val\nsub/c.jpg,Bolt,,2,\n'
    )
    catalogue = read_catalogue(tmp_path / "shop.csv")
    assert catalogue.attributes == ("brand_name", "colour")
    assert [dict(row.labels) for row in catalogue.rows] == [
        {"brand_name": "Acme, Inc.", "colour": "red"},
        {"colour": "blue"},
        {"brand_name": "Bolt"},
    ]
    assert [(row.product, row.split) for row in catalogue.rows] == [("1", "train"), ("1", "val"), ("2", None)]


def test_catalogue_reads_the_same_from_json_lines_and_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    make_photos(tmp_path, "a.jpg", "b.jpg")
    rows = [{"photo": "a.jpg", "size": 38.0, "brand": "Acme"}, {"photo": "b.jpg", "size": None, "brand": "Bolt"}]
    (tmp_path / "shop.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "shop.parquet")
    for name in ("shop.jsonl", "shop.parquet"):
        catalogue = read_catalogue(tmp_path / name)
        assert [dict(row.labels) for row in catalogue.rows] == [{"size": "38.0", "brand": "Acme"}, {"brand": "Bolt"}]


def test_catalogue_takes_one_spelling_and_says_so_when_labels_differ_by_case_or_space(tmp_path: Path) -> None:
    make_photos(tmp_path, *(f"{n}.jpg" for n in range(5)))
    (tmp_path / "shop.csv").write_text(
        "image,brand\n0.jpg,Acme  Shoes\n1.jpg,acme shoes\n2.jpg,Acme Shoes\n3.jpg,ACMESHOES\n4.jpg,Bolt\n"
    )
    catalogue = read_catalogue(tmp_path / "shop.csv")
    assert labels_of(catalogue, "brand") == ["Acme Shoes", "Bolt"]
    (notice,) = [notice for notice in catalogue.notices if "case or space" in notice]
    assert "'Acme Shoes' (2)" in notice
    assert "'acme shoes' (1)" in notice


def test_catalogue_leaves_out_descriptions_and_says_so(tmp_path: Path) -> None:
    make_photos(tmp_path, *(f"{n}.jpg" for n in range(30)))
    lines = [f"{n}.jpg,{'red' if n % 2 else 'blue'},text {n}" for n in range(30)]
    (tmp_path / "shop.csv").write_text("\n".join(["image,colour,description", *lines]))
    catalogue = read_catalogue(tmp_path / "shop.csv")
    assert catalogue.attributes == ("colour",)
    assert any("--attributes description" in notice for notice in catalogue.notices)
    asked = read_catalogue(tmp_path / "shop.csv", Columns(attributes=("description",)))
    assert asked.attributes == ("description",)


@pytest.mark.parametrize("image", ["../secret.jpg", "/etc/passwd", "inside/../../secret.jpg", "link.jpg"])
def test_catalogue_is_refused_when_a_path_leads_outside_its_folder(tmp_path: Path, image: str) -> None:
    shop = tmp_path / "shop"
    make_photos(tmp_path, "secret.jpg", "shop/a.jpg")
    (shop / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    (shop / "shop.csv").write_text(f"image,brand\na.jpg,Acme\n{image},Bolt\n")
    with pytest.raises(CatalogueError, match="1 photos are outside the folder"):
        read_catalogue(shop / "shop.csv")


def test_catalogue_folder_is_refused_when_a_link_leads_outside(tmp_path: Path) -> None:
    make_photos(tmp_path, "secret.jpg", "shop/a/1.jpg", "shop/b/2.jpg")
    (tmp_path / "shop/a/link.jpg").symlink_to(tmp_path / "secret.jpg")
    with pytest.raises(CatalogueError, match="outside"):
        read_catalogue(tmp_path / "shop")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "0 rows"),
        ({"1.jpg": "", "2.jpg": ""}, "no class folders"),
        ({"only/1.jpg": "", "only/2.jpg": ""}, "2 classes or more"),
    ],
)
def test_catalogue_folder_is_refused_when_there_is_nothing_to_tell_apart(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    make_photos(tmp_path, *files)
    with pytest.raises(CatalogueError, match=message):
        read_catalogue(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("shop.csv", "image,brand\n", "0 rows"),
        ("shop.csv", "image,brand\na.jpg,Acme\nb.jpg,Acme\n", "2 classes or more"),
        ("shop.csv", "picture_url,brand\na.jpg,Acme\n", "--image-column"),
        ("shop.csv", "image\na.jpg\n", "no label column"),
        ("shop.csv", "image,brand\na.jpg,Acme, Inc.\n", "line 2 has more fields"),
        ("shop.csv", "image,brand,split\na.jpg,Acme,tarin\n", "'tarin'"),
        ("shop.jsonl", '{"image": "a.jpg"\n', "line 1 is not JSON"),
        ("shop.parquet", "no parquet", "not a valid Parquet file"),
        ("shop.xlsx", "x", "unknown table format"),
    ],
)
def test_table_is_refused_when_it_cannot_be_learned_from(tmp_path: Path, name: str, text: str, message: str) -> None:
    make_photos(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / name).write_text(text)
    with pytest.raises(CatalogueError, match=message):
        read_catalogue(tmp_path / name)


def test_catalogue_says_which_photos_are_missing_and_which_classes_have_one(tmp_path: Path) -> None:
    make_photos(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    (tmp_path / "shop.csv").write_text("image,brand\na.jpg,Acme\nb.jpg,Acme\nc.jpg,Bolt\ngone.jpg,Acme\n")
    catalogue = read_catalogue(tmp_path / "shop.csv")
    assert len(catalogue.rows) == 3
    assert any("do not exist and are left out (1)" in notice and "gone.jpg" in notice for notice in catalogue.notices)
    assert any("1 classes have 1 photo" in notice and "Bolt" in notice for notice in catalogue.notices)


def test_names_of_columns_are_refused_for_a_folder(tmp_path: Path) -> None:
    make_photos(tmp_path, "red/a.jpg", "blue/b.jpg")
    with pytest.raises(CatalogueError, match="has the attribute category and no columns"):
        read_catalogue(tmp_path, Columns(attributes=("brand",)))
