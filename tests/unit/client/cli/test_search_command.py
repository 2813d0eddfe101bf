"""`triptych search` and `triptych catalogue`: what they print, write and refuse. The server is played in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from triptych import CatalogueItem, Client, EmbeddedRow, Retry
from triptych.catalogue.embedded_files import write_embedded
from triptych.cli import main
from triptych.testing import FakeServer, fake_client

Run = Callable[..., int]
RED, GREEN = (220, 20, 20), (20, 200, 20)


@pytest.fixture
def server() -> FakeServer:
    return FakeServer(catalogue_key="secret")


@pytest.fixture
def run(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in ("TARGET", "CATALOGUE_KEY", "CATALOGUE_KEY_FILE"):
        monkeypatch.delenv(f"TRIPTYCH_{name}", raising=False)

    def open_client(**arguments: Any) -> Client:
        return fake_client(server, **{"retry": Retry(tries=1), **arguments})

    return lambda *argv: main([*map(str, argv)], open_client=open_client)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Run, capsys: Any) -> Path:
    """A folder with a catalogue of two products and its key, imported."""
    monkeypatch.chdir(tmp_path)
    for name, colour in (("red", RED), ("green", GREEN)):
        Image.new("RGB", (80, 60), colour).save(f"{name}.png")
    (tmp_path / "key").write_text("secret\n")
    rows = "red-1,red.png,Shoes,59\ngreen-1,green.png,Hats,20\n"
    (tmp_path / "products.csv").write_text("product_id,photo,category,price\n" + rows)
    assert run("catalogue", "import", "products.csv", "--catalogue-key-file", "key") == 0
    assert capsys.readouterr().out == "2 photos added to the catalogue\n"
    monkeypatch.setenv("TRIPTYCH_CATALOGUE_KEY_FILE", "key")
    return tmp_path


def test_table_has_a_row_for_each_result(run: Run, shop: Path, capsys: Any) -> None:
    assert run("search", "red.png", "--k", 1) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["rank", "similarity", "product", "fields"]
    assert row.split()[:3] == ["1", "1.000", "red-1"]
    assert row.endswith("category=Shoes, price=59, photo=red.png")


def test_json_has_a_line_for_each_result(run: Run, shop: Path, capsys: Any) -> None:
    assert run("search", "red.png", "--json", "--filter", "category=Shoes,Bags", "--filter", "price<60") == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert (found["rank"], found["product_id"], found["fields"]["price"]) == (1, "red-1", 59)


def test_nothing_is_said_to_be_found_when_nothing_passes(run: Run, shop: Path, capsys: Any) -> None:
    assert run("search", "red.png", "--filter", "price>1000") == 0
    assert capsys.readouterr().out == "no results\n"


@pytest.mark.parametrize("conditions", [[], ["--filter", "price>1000"], ["--min-similarity", "0.9"]])
def test_catalogue_is_said_to_be_empty_when_it_is(
    run: Run, shop: Path, server: FakeServer, capsys: Any, conditions: list[str]
) -> None:
    fake_client(server, catalogue_key="secret").catalogue.delete(["red-1", "green-1"])
    assert run("search", "red.png", *conditions) == 0
    assert capsys.readouterr() == ("no results: the catalogue is empty; `triptych catalogue import` fills it\n", "")
    assert run("search", "red.png", "--json", *conditions) == 0
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "triptych: the catalogue is empty; `triptych catalogue import` fills it\n"


def test_catalogue_is_not_said_to_be_empty_when_only_the_filter_is_strict(run: Run, shop: Path, capsys: Any) -> None:
    assert run("search", "red.png", "--json", "--filter", "price>1000") == 0
    assert capsys.readouterr() == ("", "")


def test_sheet_shows_query_and_results(run: Run, shop: Path, capsys: Any) -> None:
    assert run("search", "red.png", "--sheet", "out.png", "--box", "0,0,40,60") == 0
    assert capsys.readouterr().err == ""
    pixels = np.asarray(Image.open("out.png"))
    for colour, least in ((RED, 2), (GREEN, 1)):
        same = (pixels == colour).all(axis=2)
        # Each photo fills half of its field or more: 220 x 165 of 220 x 220, the query half as wide.
        assert same.sum() > least * 40 * 60
    left, first = pixels[:, :236], pixels[:, 268:488]
    assert (left == RED).all(axis=2).any()
    assert (first == RED).all(axis=2).any()


@pytest.mark.parametrize("photo", ["../outside.png", "gone.png", "http://127.0.0.1/x.png", 7])
def test_sheet_goes_without_a_photo_that_is_not_in_the_folder(
    run: Run, shop: Path, server: FakeServer, photo: Any, capsys: Any
) -> None:
    Image.new("RGB", (80, 60), (1, 2, 3)).save(shop.parent / "outside.png")
    owner = fake_client(server, catalogue_key="secret")
    owner.catalogue.delete(["red-1", "green-1"])
    owner.catalogue.upsert("odd", b"odd", fields={"photo": photo})
    assert run("search", "red.png", "--sheet", "out.png") == 0
    pixels = np.asarray(Image.open("out.png"))
    assert not (pixels == (1, 2, 3)).all(axis=2).any()
    assert (pixels == (244, 244, 245)).all(axis=2).sum() > 40_000
    assert "1 of the 1 photos are not below '.' and are grey in the sheet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["red.png", "--k", "0"], "k is 0"),
        (["red.png", "--box", "1,2"], "left,top,right,bottom"),
        (["red.png", "--filter", "category"], "expected a condition"),
        (["red.png", "--filter", "{1"], "no JSON object"),
        (["red.png", "--sheet", "out.jpg"], "ends in .png"),
        (["gone.png"], "There is no file 'gone.png'"),
        (["red.png", "green.png"], "unrecognized arguments: green.png"),
    ],
)
def test_search_refuses_wrong_words(run: Run, shop: Path, capsys: Any, words: list[str], sentence: str) -> None:
    try:
        code = run("search", *words)
    except SystemExit as end:
        code = int(str(end.code))
    assert code == 2
    assert sentence in capsys.readouterr().err


def test_typo_in_a_filter_is_answered_with_help(run: Run, shop: Path, capsys: Any) -> None:
    assert run("search", "red.png", "--filter", "catgory=Shoes") == 1
    assert "Did you mean 'category'?" in capsys.readouterr().err


def test_catalogue_is_read_and_changed(run: Run, shop: Path, capsys: Any) -> None:
    assert run("catalogue", "count", "--filter", "category=Shoes") == 0
    assert run("catalogue", "get", "red-1") == 0
    assert run("catalogue", "export", "--embeddings") == 0
    assert run("catalogue", "delete", "red-1", "nobody") == 0
    assert run("catalogue", "duplicates") == 0
    assert run("catalogue", "info") == 0
    count, got, *exported, deleted = capsys.readouterr().out.split("\n", 5)[:5]
    assert count == "1 photos of 1 products"
    assert json.loads(got)["fields"] == {"category": "Shoes", "price": 59, "photo": "red.png"}
    assert [json.loads(line)["product_id"] for line in exported] == ["red-1", "green-1"]
    assert "embedding" in json.loads(exported[0])
    assert deleted == "1 of 2 products deleted"
    assert run("catalogue", "get", "red-1") == 1
    assert "has no product red-1" in capsys.readouterr().err


def test_refused_rows_are_listed_when_an_import_ends(run: Run, shop: Path, capsys: Any) -> None:
    (shop / "more.csv").write_text("product_id,photo\na,red.png\nb,gone.png\n")
    assert run("catalogue", "import", "more.csv") == 1
    out, err = capsys.readouterr()
    assert out == "1 photos added to the catalogue\n"
    assert "\ntriptych: refused row 2, line 3 (b, gone.png): there is no photo 'gone.png' below '.'." in err
    assert run("catalogue", "import", "more.csv", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["refused"][0]["row"], report["refused"][0]["code"]) == (2, "input_invalid")


def test_catalogue_says_what_is_missing_without_the_key(
    run: Run, shop: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRIPTYCH_CATALOGUE_KEY_FILE")
    assert run("catalogue", "count") == 1
    assert "--catalogue-key-file" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        run("catalogue", "count", "--catalogue-key-file", "gone")
    assert end.value.code == 2
    assert "The file of the catalogue's key cannot be read: 'gone'" in capsys.readouterr().err


@pytest.fixture
def embedded(shop: Path, server: FakeServer) -> Path:
    """A folder with a Parquet file, as `triptych bulk-embed` writes it."""
    (shop / "embedded").mkdir()
    with fake_client(server, catalogue_key="secret") as client, (shop / "embedded/part-0.parquet").open("wb") as file:
        found = list(client.catalogue.embed_items([CatalogueItem("red-2", shop / "red.png", {"price": 61})]))
        write_embedded(file, [row_of(each) for each in found if isinstance(each, EmbeddedRow)])
    return shop / "embedded"


def row_of(row: EmbeddedRow) -> dict[str, Any]:
    return {
        "product_id": row.item.product_id,
        "photo_id": row.item.photo_id,
        "fields": json.dumps(dict(row.item.fields)),
        "embedding": row.prepared.vector,
        "image_digest": row.prepared.image_digest,
        "phash": row.prepared.phash,
        "fingerprint": row.fingerprint,
    }


@pytest.mark.parametrize(
    ("command", "place"),
    [("import", "embedded"), ("import", "embedded/part-0.parquet"), ("import-embeddings", "embedded")],
)
def test_import_recognises_what_is_embedded(run: Run, embedded: Path, capsys: Any, command: str, place: str) -> None:
    assert run("catalogue", command, place) == 0
    out, err = capsys.readouterr()
    assert out == "1 photos added to the catalogue\n"
    assert ("`triptych catalogue import-embeddings` is deprecated" in err) == (command == "import-embeddings")
    assert run("catalogue", "get", "red-2") == 0
    assert json.loads(capsys.readouterr().out)["fields"] == {"price": 61}


def test_import_takes_a_table_in_parquet_for_a_table(run: Run, shop: Path, capsys: Any) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    arrow = pytest.importorskip("pyarrow")
    parquet.write_table(arrow.table({"product_id": ["g-2"], "photo": ["green.png"]}), "products.parquet")
    assert run("catalogue", "import", "products.parquet") == 0
    # A folder of photos may have the table beside them: its photos are the catalogue.
    assert run("catalogue", "import", ".") == 0
    assert capsys.readouterr().out == "1 photos added to the catalogue\n2 photos added to the catalogue\n"


def test_import_refuses_a_folder_of_photos_and_embeddings(run: Run, embedded: Path, capsys: Any) -> None:
    (embedded / "red.png").write_bytes(Path("red.png").read_bytes())
    with pytest.raises(SystemExit) as end:
        run("catalogue", "import", "embedded")
    assert end.value.code == 2
    assert "contains photos and Parquet files of embeddings. Move them into two folders" in capsys.readouterr().err


def test_import_says_why_when_a_parquet_file_cannot_be_read(run: Run, shop: Path, capsys: Any) -> None:
    (shop / "cut").mkdir()
    (shop / "cut/part-0.parquet").write_bytes(b"PAR1")
    for place, said in (("cut", "cannot be read as embeddings"), ("cut/part-0.parquet", "part-0.parquet")):
        with pytest.raises(SystemExit) as end:
            run("catalogue", "import", place)
        assert end.value.code == 2
        assert said in capsys.readouterr().err


def test_file_that_is_no_catalogue_is_wrong_usage(run: Run, shop: Path, capsys: Any) -> None:
    with pytest.raises(SystemExit) as end:
        run("catalogue", "import", "key")
    assert end.value.code == 2
    assert "'key' has no column 'product_id'; it has secret." in capsys.readouterr().err


def test_predicted_filter_is_shown_above_the_results(run: Run, shop: Path, capsys: Any) -> None:
    assert run("search", "red.png", "--predicted-filter", "category") == 0
    out, err = capsys.readouterr()
    assert out.startswith("predicted: Shoes\nrank ")
    assert err == ""


def test_deprecated_option_of_the_predicted_filter_warns(run: Run, shop: Path, capsys: Any) -> None:
    assert run("search", "red.png", "--narrow-by", "category") == 0
    out, err = capsys.readouterr()
    assert out.startswith("predicted: Shoes\n")
    assert err == "triptych: --narrow-by is deprecated: use --predicted-filter\n"
    with pytest.raises(SystemExit):
        run("search", "red.png", "--narrow-by", "category", "--predicted-filter", "category")
    assert "were both passed" in capsys.readouterr().err
