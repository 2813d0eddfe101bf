"""Catalogues as shops have them, read as rows of photos with labels; what is wrong is a row's own fault."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from export.errors import CatalogueError
from export.training.dataset.catalogue import Catalogue, ReadingOptions, read_catalogue
from export.training.dataset.overview import show_catalogue
from export.training.dataset.tables import Columns, attribute_name
from triptych.sources.table import TableOptions


def labels_of(catalogue: Catalogue, attribute: str) -> list[str]:
    return sorted({row.labels[attribute] for row in catalogue.rows if attribute in row.labels})


def make_photos(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"a photo is not opened here")


def read_table(folder: Path, text: str, *attributes: str, name: str = "shop.csv") -> Catalogue:
    (folder / name).write_text(text, encoding="utf-8")
    return read_catalogue(folder / name, ReadingOptions(Columns(attributes=attributes)))


def test_category_is_the_first_folder_and_can_be_the_last(tmp_path: Path) -> None:
    make_photos(tmp_path, "dress/1.jpg", "dress/2.PNG", "hats/felt/3.webp", "hats/notes.txt", "hats/.hidden.jpg")
    catalogue = read_catalogue(tmp_path)
    assert [row.labels["category"] for row in catalogue.rows] == ["dress", "dress", "hats"]
    assert any("--class-level last" in notice for notice in catalogue.notices)
    assert labels_of(read_catalogue(tmp_path, ReadingOptions(class_level=0)), "category") == ["dress", "felt"]


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
    splits = [(row.product, row.split) for row in catalogue.rows]
    assert splits == [("1", "train"), ("1", "validation"), ("2", None)]


@pytest.mark.parametrize(
    ("delimiter", "encoding"), [(";", "cp1252"), ("\t", "utf-16"), ("|", "utf-8"), (",", "utf-8-sig")]
)
def test_catalogue_reads_delimiters_and_encodings_and_says_so(tmp_path: Path, delimiter: str, encoding: str) -> None:
    make_photos(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    lines = [("image", "Größe"), ("a.jpg", "groß"), ("b.jpg", "klein"), ("c.jpg", "groß")]
    (tmp_path / "shop.csv").write_bytes("\n".join(map(delimiter.join, lines)).encode(encoding))
    catalogue = read_catalogue(tmp_path / "shop.csv")
    assert labels_of(catalogue, "grosse") == ["groß", "klein"]
    assert any("'Größe' as grosse" in notice for notice in catalogue.notices)
    forced = ReadingOptions(table=TableOptions(delimiter="tab" if delimiter == "\t" else delimiter))
    assert read_catalogue(tmp_path / "shop.csv", forced).rows == catalogue.rows


def test_numbers_are_never_labels_unless_they_are_asked_for(tmp_path: Path) -> None:
    make_photos(tmp_path, *"abcd")
    text = (
        "image,brand,price,stock,ean,sale,size\n"
        'a,Acme,"59,90",3,0012,EUR 20,S\nb,Bolt,"1.299,00",0,0013,20 %,38\nc,Acme,.99,3,0014,,40\nd,Bolt,5,,0015,3,M\n'
    )
    catalogue = read_table(tmp_path, text)
    assert catalogue.attributes == ("brand", "size")
    for name in ("price", "stock", "ean", "sale"):
        assert any(f"column {name!r} has numbers and is not used as labels" in notice for notice in catalogue.notices)
    assert any("2 of 4 labels of 'size' are numbers" in notice for notice in catalogue.notices)
    asked = read_table(tmp_path, text, "stock")
    assert labels_of(asked, "stock") == ["0", "3"]
    assert any("3 of 3 labels of 'stock' are numbers, used as text" in notice for notice in asked.notices)


def test_catalogue_of_numbers_alone_is_refused_with_the_option(tmp_path: Path) -> None:
    make_photos(tmp_path, *"ab")
    with pytest.raises(CatalogueError, match=r"no label column.*'stock' has numbers.*--attributes 'stock'"):
        read_table(tmp_path, "image,stock\na,0\nb,1\n")


def test_numbers_are_labels_when_the_column_says_that_it_has_labels(tmp_path: Path) -> None:
    make_photos(tmp_path, *"ab")
    catalogue = read_table(tmp_path, "image,Category\na,00\nb,01\n")
    assert labels_of(catalogue, "category") == ["00", "01"]
    assert any("2 of 2 labels of 'Category' are numbers, used as text" in notice for notice in catalogue.notices)


def test_types_of_json_become_labels_as_they_are_written(tmp_path: Path) -> None:
    make_photos(tmp_path, *"abcd")
    rows = [
        {"photo": "a", "size": 38.0, "new": True, "tags": ["x"]},
        {"photo": "b", "size": "S", "new": False, "tags": ["y"]},
        {"photo": "c", "size": None, "new": True, "tags": ["x", "y"]},
        {"photo": "d", "size": 38, "new": True, "tags": {"a": 1}},
    ]
    text = "".join(f"{json.dumps(row)}\n" for row in rows)
    catalogue = read_table(tmp_path, text, "size", "new", "tags", name="shop.jsonl")
    assert [dict(row.labels) for row in catalogue.rows] == [
        {"size": "38", "new": "true", "tags": "x"},
        {"size": "S", "new": "false", "tags": "y"},
    ]
    assert [(one.row, one.column) for one in catalogue.refused] == [(3, "tags"), (4, "tags")]
    assert "2 values, expected one text" in catalogue.refused[0].reason


@pytest.mark.parametrize(
    "header",
    ["image,category,guess,score,margin", "image,category,score", "image,category,label_score,guess,guess_score"],
)
def test_guesses_of_a_model_are_never_labels(tmp_path: Path, header: str) -> None:
    make_photos(tmp_path, *"abc")
    width = header.count(",")
    rows = "".join(f"{name},{'red' if name == 'a' else 'blue'}{',red' * (width - 1)}\n" for name in "abc")
    catalogue = read_table(tmp_path, f"{header}\n{rows}")
    assert catalogue.attributes == ("category",)
    assert any("are guesses of a model" in notice for notice in catalogue.notices)


def test_lone_column_guess_and_a_file_of_refused_rows(tmp_path: Path) -> None:
    make_photos(tmp_path, *"ab")
    assert read_table(tmp_path, "image,guess\na,x\nb,y\n").attributes == ("guess",)
    rejects = "image,brand,reason,reason_row,reason_column,reason_rules\na,x,bad,1,image,{}\nb,y,worse,2,image,{}\n"
    assert read_table(tmp_path, rejects).attributes == ("brand",)


@pytest.mark.parametrize(
    ("labels", "chosen", "seen"),
    [
        (["Acme  Shoes", "acme shoes", "Acme Shoes", "ACMESHOES"], "Acme Shoes", "'acme shoes' (1)"),
        (["Größe", "Gro\u0308ße", "Größe", "GRÖSSE"], "Größe", "'Gro\\u0308\\xdfe' (1)"),
        (["red", "r\u200bed", "red", "Red"], "red", "'r\\u200bed' (1)"),
    ],
)
def test_one_spelling_is_taken_and_said_when_labels_look_the_same(
    tmp_path: Path, labels: list[str], chosen: str, seen: str
) -> None:
    make_photos(tmp_path, *"abcde")
    rows = "".join(f"{name},{label}\n" for name, label in zip("abcde", [*labels, "Bolt"], strict=True))
    catalogue = read_table(tmp_path, f"image,brand\n{rows}")
    assert labels_of(catalogue, "brand") == sorted([chosen, "Bolt"])
    (notice,) = [notice for notice in catalogue.notices if "differ only by" in notice]
    assert seen in notice


def test_catalogue_leaves_out_descriptions_and_says_so(tmp_path: Path) -> None:
    make_photos(tmp_path, *(f"{n}.jpg" for n in range(30)))
    lines = [f"{n}.jpg,{'red' if n % 2 else 'blue'},text {n}" for n in range(30)]
    text = "\n".join(["image,colour,description", *lines])
    catalogue = read_table(tmp_path, text)
    assert catalogue.attributes == ("colour",)
    assert any("--attributes 'description'" in notice for notice in catalogue.notices)
    assert read_table(tmp_path, text, "description").attributes == ("description",)


@pytest.mark.parametrize(
    ("row", "reason", "column"),
    [
        ("../secret.jpg,Bolt,", "is outside the folder", "image"),
        ("/etc/passwd,Bolt,", "is outside the folder", "image"),
        ("inside/../../secret.jpg,Bolt,", "is outside the folder", "image"),
        ("link.jpg,Bolt,", "is outside the folder", "image"),
        (",Bolt,", "has no photo in the column 'image'", "image"),
        ("gone.jpg,Bolt,", "there is no photo 'gone.jpg'", "image"),
        ("https://shop.example/a.jpg,Bolt,", "is an address", "image"),
        (f"a.jpg,{'x' * 300},", "has 300 characters", "brand"),
        ("a.jpg,Bolt,tarin", "'tarin' is no split", "split"),
        ("a.jpg,Acme,,more,cells", "", None),
        ("a.jpg", "", None),
    ],
)
def test_fault_of_a_row_is_its_own(tmp_path: Path, row: str, reason: str, column: str | None) -> None:
    shop = tmp_path / "shop"
    make_photos(tmp_path, "secret.jpg", "shop/a.jpg", "shop/b.jpg", "shop/c.jpg")
    (shop / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    catalogue = read_table(shop, f"image,brand,split\na.jpg,Acme,\n{row}\nb.jpg,Bolt,train\nc.jpg,Acme,\n")
    assert [one.photo.name for one in catalogue.rows] == ["a.jpg", "b.jpg", "c.jpg"]
    (refused,) = catalogue.refused
    assert (refused.row, refused.line) == (2, 3)
    assert reason in refused.reason
    assert column is None or refused.column == column
    assert catalogue.read == 4


def test_photo_is_found_under_another_spelling_of_its_name(tmp_path: Path) -> None:
    make_photos(tmp_path, "Bilder/Schön.JPG", "b.jpg")
    catalogue = read_table(tmp_path, "image,brand\nbilder\\scho\u0308n.jpg,Acme\nb.jpg,Bolt\n")
    assert [row.photo.name for row in catalogue.rows] == ["Schön.JPG", "b.jpg"]
    assert any("Photos written" in notice for notice in catalogue.notices)


def test_photos_of_one_cell_are_one_product(tmp_path: Path) -> None:
    make_photos(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d,e.jpg")
    catalogue = read_table(tmp_path, 'image,brand\na.jpg|b.jpg,Acme\nc.jpg,Bolt\n"d,e.jpg",Bolt\n')
    assert [row.photo.name for row in catalogue.rows] == ["a.jpg", "b.jpg", "c.jpg", "d,e.jpg"]
    assert [row.product for row in catalogue.rows] == ["row 1", "row 1", None, None]


def test_link_that_leads_outside_a_folder_is_refused_alone(tmp_path: Path) -> None:
    make_photos(tmp_path, "secret.jpg", "shop/a/1.jpg", "shop/b/2.jpg")
    (tmp_path / "shop/a/link.jpg").symlink_to(tmp_path / "secret.jpg")
    catalogue = read_catalogue(tmp_path / "shop")
    assert len(catalogue.rows) == 2
    (refused,) = catalogue.refused
    assert "leads out of the folder" in refused.reason
    assert catalogue.read == 3


def test_empty_classes_and_skipped_files_are_said(tmp_path: Path) -> None:
    make_photos(tmp_path, "red/1.jpg", "blue/2.jpg", "blue/x.psd", ".git/3.jpg", "4.jpg")
    (tmp_path / "white").mkdir()
    notices = "\n".join(read_catalogue(tmp_path).notices)
    assert "Class folders without a photo, left out (1): white." in notices
    assert "Photos in no class folder, left out (1)" in notices
    assert "1 skipped: no photo (.psd)" in notices
    assert "1 skipped: hidden" in notices


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (("a.txt",), "holds no photo"),
        (("1.jpg", "2.jpg"), "no class folders"),
        (("only/1.jpg", "only/2.jpg"), "2 classes or more"),
        (("shop/red/1.jpg", "shop/blue/2.jpg"), "name that folder, or add --class-level 2"),
        (("Takeout/Google Photos/red/1.jpg", "Takeout/Google Photos/blue/2.jpg"), "Google Photos are.*--class-level 3"),
        (("images/1.jpg", "images/2.jpg", "labels.csv"), "It holds the table .*labels.csv: name that"),
        (("export/1.jpg", "produkte.xlsx"), "It holds the table .*produkte.xlsx: name that"),
        (("train/red/1.jpg", "blue/2.jpg"), "--no-split-folders"),
    ],
)
def test_catalogue_folder_is_refused_when_there_is_nothing_to_tell_apart(
    tmp_path: Path, files: tuple[str, ...], message: str
) -> None:
    make_photos(tmp_path, *files)
    with pytest.raises(CatalogueError, match=message):
        read_catalogue(tmp_path)


@pytest.mark.parametrize("name", ["shop.zip", "Shop.ZIP", "shop.tar.gz", "shop.tgz", "shop.7z", "shop.rar"])
def test_archive_is_refused_with_its_mend(tmp_path: Path, name: str) -> None:
    make_photos(tmp_path, name)
    with pytest.raises(CatalogueError, match=r"is an archive\. Unpack it, and name the folder"):
        read_catalogue(tmp_path / name)


def test_equal_files_of_different_labels_or_splits_are_said_before_a_training(tmp_path: Path) -> None:
    for name in ("train/red/1", "train/red/2", "train/blue/3", "test/red/4", "test/blue/5", "test/blue/1b"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        content = "test/red/4" if name == "train/red/2" else name
        (tmp_path / f"{name}.jpg").write_text(content.removesuffix("b").replace("test/blue/1", "train/red/1"))
    console = Console(file=io.StringIO())
    report = show_catalogue(tmp_path, ReadingOptions(), console, min_classes=2, is_for_training=True)
    (labels,) = (notice for notice in report["notices"] if "with different labels" in notice)
    (splits,) = (notice for notice in report["notices"] if "in different splits" in notice)
    assert labels.startswith("1 photos are identical files")
    assert splits.startswith("2 photos are identical files")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("shop.csv", "image,brand\n", "0 rows"),
        ("shop.csv", "image,brand\na.jpg,Acme\nb.jpg,Acme\n", "2 classes or more"),
        ("shop.csv", "colour,brand\nred,Acme\n", "--image-column"),
        ("shop.csv", "image\na.jpg\n", "no label column"),
        ("shop.csv", "image,brand\ngone.jpg,Acme\n", "none of the 1 rows can be used.*no photo 'gone.jpg'"),
        ("shop.csv", "image,brand,split\na.jpg,Acme,tarin\n", "'tarin'"),
        ("shop.csv", "image,商品\na.jpg,x\nb.jpg,y\n", "no label column.*has no letters a-z"),
    ],
)
def test_table_is_refused_when_it_cannot_be_learned_from(tmp_path: Path, name: str, text: str, message: str) -> None:
    make_photos(tmp_path, "a.jpg", "b.jpg")
    with pytest.raises(CatalogueError, match=message):
        read_table(tmp_path, text, name=name)


def test_column_that_is_named_wrongly_gets_a_near_name(tmp_path: Path) -> None:
    make_photos(tmp_path, *"ab")
    assert read_table(tmp_path, "image,Brand Name\na,x\nb,y\n", "brand_name").attributes == ("brand_name",)
    with pytest.raises(CatalogueError, match=r"no column 'bland name'.*Did you mean 'Brand Name'"):
        read_table(tmp_path, "image,Brand Name\na,x\nb,y\n", "bland name")


def test_split_column_of_another_name_is_taken_only_if_every_value_is_a_split(tmp_path: Path) -> None:
    make_photos(tmp_path, *"ab")
    splits = [row.split for row in read_table(tmp_path, "image,brand,Subset\na,x,Train\nb,y,TEST\n").rows]
    assert splits == ["train", "test"]
    catalogue = read_table(tmp_path, "image,brand,set\na,x,test\nb,y,of knives\n")
    assert catalogue.attributes == ("brand", "set")


def test_words_for_missing_are_said(tmp_path: Path) -> None:
    make_photos(tmp_path, *"abc")
    catalogue = read_table(tmp_path, "image,brand\na,n/a\nb,Acme\nc,-\n")
    assert any("2 of 3 labels of 'brand' are words such as n/a" in notice for notice in catalogue.notices)


@pytest.mark.parametrize(
    ("column", "name"),
    [
        ("Brand Name", "brand_name"),
        ("Größe", "grosse"),
        ("2nd-Colour!", "nd_colour"),
        ("商品", ""),
        ("x" * 60, "x" * 40),
    ],
)
def test_attribute_name_has_only_what_a_tensor_name_takes(column: str, name: str) -> None:
    assert attribute_name(column) == name


def test_names_of_columns_are_refused_for_a_folder(tmp_path: Path) -> None:
    make_photos(tmp_path, "red/a.jpg", "blue/b.jpg")
    with pytest.raises(CatalogueError, match="has the attribute category and no columns"):
        read_catalogue(tmp_path, ReadingOptions(Columns(attributes=("brand",))))


GOOD, UNLABELLED = ["a.jpg,Acme", "b.jpg,Bolt", "sub\\c.jpg,acme"], ["a.jpg,", "b.jpg,  "]
BAD = [
    "gone.jpg,Acme",
    ",Acme",
    "../up.jpg,Bolt",
    "https://x.example/1.jpg,Acme",
    "a.jpg,A,B",
    "a.jpg",
    f"b.jpg,{'x' * 201}",
]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from([*GOOD, *UNLABELLED, *BAD]), max_size=30))
def test_every_row_is_used_refused_or_without_a_label(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as place:
        make_photos(Path(place), "a.jpg", "b.jpg", "sub/c.jpg")
        catalogue = read_table(Path(place), "\n".join(["image,brand", *GOOD, *lines]), "brand")
    lines = [*GOOD, *lines]
    assert catalogue.read == len(lines)
    assert [one.row for one in catalogue.refused] == [n for n, line in enumerate(lines, start=1) if line in BAD]
    assert [row.number for row in catalogue.rows] == [n for n, line in enumerate(lines, start=1) if line in GOOD]
    assert catalogue.unlabelled == sum(line in UNLABELLED for line in lines)
