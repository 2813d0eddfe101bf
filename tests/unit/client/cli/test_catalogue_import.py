"""`triptych catalogue import`: options, report and exit codes. The server is played in memory."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from triptych import Client, Retry
from triptych.cli import main
from triptych.testing import FakeServer, fake_client

Run = Callable[..., int]
TABLE = "Artikelnummer;Bild;Preis;Grösse\nA;a.jpg;59,90 €;38\nB;gone.jpg;1.299,00 €;M\nC;C.JPG;20;39\n"


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
def run(server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    for name in ("TARGET", "CATALOGUE_KEY", "CATALOGUE_KEY_FILE"):
        monkeypatch.delenv(f"TRIPTYCH_{name}", raising=False)
    for name in "abc":
        Path(f"{name}.jpg").write_bytes(name.encode())
    Path("shop.csv").write_text(TABLE, encoding="utf-8")

    def open_client(**arguments: Any) -> Client:
        return fake_client(server, **{"retry": Retry(tries=1), **arguments})

    return lambda *argv: main(["catalogue", "import", *map(str, argv)], open_client=open_client)


def test_report_tells_what_was_read_understood_and_refused(run: Run, capsys: Any) -> None:
    assert run("shop.csv") == 1
    out, err = capsys.readouterr()
    assert out == "2 photos added to the catalogue\n"
    assert err.splitlines() == [
        "shop.csv: CSV; semicolons between the columns; product_id: Artikelnummer; photo: Bild",
        "  Preis: numbers, decimal comma, EUR",
        "  text: Grösse",
        "  notice: Grösse stays text: 2 of 3 values are numbers, others are 'M'; filters compare its text",
        "  3 rows read, 1 refused",
        "  1 written in other letter case (row 3: C.JPG)",
        "triptych: refused row 2, line 3 (B, gone.jpg): there is no photo 'gone.jpg' below '.'. Paths are relative to "
        "the catalogue's folder (--photos DIR names another).",
        "triptych: shop.rejects.csv has the refused rows with the reasons: mend it, and import it as it is",
    ]


def test_report_is_json_when_asked(run: Run, capsys: Any) -> None:
    assert run("shop.csv", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["upserted"], told["rows"], told["refused_count"], told["dry_run"]) == (2, 3, 1, False)
    assert told["understood"]["kinds"]["Preis"] == "numbers, decimal comma, EUR"
    assert told["refused"][0]["line"] == 3
    assert Path(told["rejects"]).name == "shop.rejects.csv"


def test_dry_run_needs_no_server(run: Run, server: FakeServer, capsys: Any) -> None:
    assert run("shop.csv", "--dry-run") == 1
    assert capsys.readouterr().out == "2 photos would be added to the catalogue\n"
    assert server.requests == []
    assert not Path("shop.rejects.csv").exists()
    assert run("shop.csv", "--dry-run", "--rejects", "bad.csv") == 1
    assert Path("bad.csv").exists()
    Path("b.jpg").rename("gone.jpg")
    assert run("shop.csv", "--dry-run") == 0


def test_options_decide_what_the_table_means(run: Run, server: FakeServer) -> None:
    Path("t.csv").write_text('sku|id|front|back|price|size\n1|x|a.jpg|b.jpg|"1,299"|38\n', encoding="utf-16")
    Path("photos").mkdir()
    for name in "ab":
        Path(f"{name}.jpg").rename(f"photos/{name}.jpg")
    options = ["--map", "id=SKU,photo=front+back", "--photos", "photos", "--decimal", ".", "--text", "size"]
    assert run("t.csv", *options, "--encoding", "utf-16", "--delimiter", "|") == 0
    photos = list(fake_client(server).catalogue.export())
    assert [photo.photo_id for photo in photos] == ["1", "1-2"]
    assert dict(photos[0].fields) == {"id": "x", "price": 1299, "size": "38", "photo": "a.jpg"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--map", "id=none"), "has no column 'none', which --map names"),
        (("--map", "nonsense"), "expected ROLE=COLUMN"),
        (("--text", "prize"), "There is no column 'prize' to keep as text"),
        (("--photos", "none"), "There is no folder 'none' of photos"),
        (("--decimal", "."), "have no decimal point"),
        (("--decimal", ";"), "invalid choice: ';'"),
    ],
)
def test_option_is_wrong_usage_when_the_table_does_not_fit(
    run: Run, server: FakeServer, capsys: Any, options: tuple[str, ...], sentence: str
) -> None:
    with pytest.raises(SystemExit) as end:
        run("shop.csv", *options)
    assert end.value.code == 2
    assert sentence in capsys.readouterr().err
    assert server.requests == []


def test_many_refused_rows_are_counted_when_the_first_are_listed(run: Run, capsys: Any) -> None:
    Path("t.csv").write_text("id,photo\n" + "".join(f"{number},gone.jpg\n" for number in range(30)))
    assert run("t.csv") == 1
    out, err = capsys.readouterr()
    assert out == "0 photos added to the catalogue\n"
    assert err.count("triptych: refused row") == 20
    assert "triptych: ... and 10 more refused; all: t.rejects.csv" in err


def test_report_stays_short_when_the_table_is_wide(run: Run, tmp_path: Path, capsys: Any) -> None:
    names = [f"n{number}" for number in range(500)] + [f"t{number}" for number in range(500)]
    values = ["5"] * 500 + ["red"] * 500
    (tmp_path / "wide.csv").write_text(f"id,photo,price,{','.join(names)}\n1,a.jpg,5.5,{','.join(values)}\n")
    assert run("wide.csv", "--dry-run") == 0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < 10
    assert max(map(len, lines)) < 500
    assert "  price: numbers, decimal point" in lines
    assert any(
        line.startswith("  numbers: n0, n1, ") and line.endswith("and 460 more (--json names all)") for line in lines
    )
    assert run("wide.csv", "--dry-run", "--json") == 0
    assert len(json.loads(capsys.readouterr().out)["understood"]["kinds"]) == 1001


def test_report_counts_rows_when_several_photos_of_a_row_are_refused(run: Run, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "many.csv").write_text('id,photo\n1,"a.jpg;gone1.jpg;gone2.jpg"\n2,b.jpg\n3,gone3.jpg\n')
    assert run("many.csv") == 1
    out, err = capsys.readouterr()
    assert out == "2 photos added to the catalogue\n"
    assert "  3 rows read, 2 refused (3 photos)" in err.splitlines()
    assert run("many.rejects.csv", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["rows"], told["refused_rows"], told["refused_count"]) == (2, 2, 3)
