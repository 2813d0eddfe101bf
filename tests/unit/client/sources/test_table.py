"""Tables of every format: what is read, refused, understood, and which files are named instead of read."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pytest

from triptych.errors import InvalidInput
from triptych.sources.rows import RefusedRow, Row
from triptych.sources.table import TableOptions, open_table

PRODUCTS = [{"id": f"P{number}", "name": f"Kleid {number}"} for number in range(1, 4)]
CSV = "id,name\n" + "".join(f"{each['id']},{each['name']}\n" for each in PRODUCTS)
FORMS = {
    "table.csv": CSV.encode(),
    "gzip.csv": gzip.compress(CSV.encode()),
    "wrong-suffix.parquet": CSV.encode(),
    "lines.txt": "".join(json.dumps(each) + "\n" for each in PRODUCTS).encode(),
    "lines.jsonl.gz": gzip.compress("".join(json.dumps(each) + "\n" for each in PRODUCTS).encode()),
    "array.json": json.dumps(PRODUCTS).encode(),
    "wrapped.json": json.dumps({"meta": {"pages": 1}, "products": PRODUCTS}, indent=1).encode(),
    "nested.json": json.dumps({"data": {"products": PRODUCTS}}).encode("utf-16"),
    "one-after-another.json": "\n".join(json.dumps(each, indent=2) for each in PRODUCTS).encode(),
    "feed.xml": (
        "<rss><channel>"
        + "".join(f"<item><id>{each['id']}</id><name>{each['name']}</name></item>" for each in PRODUCTS)
        + "</channel></rss>"
    ).encode(),
}


def written(tmp_path: Path, name: str, content: bytes | str) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("name", FORMS)
def test_table_gives_the_same_rows_when_the_format_differs(name: str, tmp_path: Path) -> None:
    table = open_table(written(tmp_path, name, FORMS[name]))
    rows = list(table)
    assert table.columns == ("id", "name")
    assert [dict(row.values) for row in rows if isinstance(row, Row)] == PRODUCTS
    assert [row.number for row in rows if isinstance(row, Row)] == [1, 2, 3]
    assert list(table) == rows  # each iteration begins anew


def zipped(tmp_path: Path, *members: str) -> bytes:
    path = tmp_path / "archive"
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            archive.writestr(member, "application/vnd.oasis.opendocument.spreadsheet" if member == "mimetype" else "x")
    return path.read_bytes()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: 0 bytes"),
        (gzip.compress(b"", mtime=0), "gzip file without content"),
        (gzip.compress(b"%PDF-1.7", mtime=0), "PDF document"),
        (b"%PDF-1.7 ...", "PDF document"),
        (b"SQLite format 3\0...", "SQLite database"),
        (b"ARROW1\0\0", "Feather"),
        (b"ORC\0", "ORC"),
        (b"\xff\xd8\xff\xe0", "photo (JPEG)"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "before 2007 (.xls)"),
        (("word/document.xml",), "Word document"),
        (("photos/1.jpg",), "a zip archive"),
        (("mimetype", "content.xml"), "OpenDocument spreadsheet (.ods)"),
        (b"PK\x03\x04 torn", "damaged"),
        (b"<!DOCTYPE html><html><body>Log in</body></html>", "a web page (HTML)"),
        (b"<html><table><tr><td>id</td></tr></table></html>", "a web page (HTML)"),
        (bytes(range(1, 32)) * 40, "no text and no format of tables"),
        (b"<?xml version='1.0'?><!DOCTYPE html PUBLIC 'x'><html></html>", "a web page (HTML)"),
        (b"\n\n\n", "no header and no rows"),
        (b";;;\n1;2;3;4\n", "has no names of columns: line 2"),
        (b"1001,Red shoe,https://shop.example/1.jpg\n", "has no names of columns: line 1"),
        (b"[1, 2, 3]", "no JSON object with values"),
        (b"[]", "no JSON object with values"),
        (b'{\n"P1": {"price": 1},\n"P2": {"price": 2}\n}', "without a list of products"),
        (b"<a><b>text</b></a>", "no element repeats"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><rss><item><id>&a;</id></item></rss>', "defines XML entities"),
        (b"PAR1 torn", "cannot be read"),
    ],
)
def test_table_names_what_a_file_is_when_it_is_no_table(
    content: bytes | tuple[str, ...], said: str, tmp_path: Path
) -> None:
    path = written(tmp_path, "products.csv", zipped(tmp_path, *content) if isinstance(content, tuple) else content)
    with pytest.raises(InvalidInput) as error:
        open_table(path)
    assert said in str(error.value)
    assert "products.csv" in str(error.value)


def test_table_says_that_there_is_no_file_when_the_path_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="There is no file"):
        open_table(tmp_path / "none.csv")


def test_table_says_that_a_folder_is_no_table(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is a folder"):
        open_table(tmp_path)


def test_table_says_so_when_an_option_has_no_effect(tmp_path: Path) -> None:
    path = written(tmp_path, "t.jsonl", '{"id": 1}\n')
    table = open_table(path, TableOptions(delimiter=";", sheet="Data"))
    assert table.understood == (
        "the delimiter that was set has no effect: the file is JSON lines",
        "the sheet that was set has no effect: the file is JSON lines",
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (TableOptions(encoding="utf-99"), "no text encoding 'utf-99'"),
        (TableOptions(encoding="utf-8"), "not written in utf-8"),
        (TableOptions(encoding="base64"), "no text encoding"),
        (TableOptions(delimiter="ab"), "delimiter 'ab' cannot be used"),
        (TableOptions(delimiter='"'), "cannot be used"),
    ],
)
def test_table_refuses_options_when_they_do_not_fit(options: TableOptions, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "id,name\n1,Größe\n2,süß\n".encode("cp1252"))
    with pytest.raises(InvalidInput) as error:
        open_table(path, options)
    assert said in str(error.value)


def test_table_uses_the_forced_encoding_and_delimiter_when_they_are_given(tmp_path: Path) -> None:
    path = written(tmp_path, "t.csv", "id\tname, long\n1\tПлатье\n".encode("cp866"))
    table = open_table(path, TableOptions(encoding="cp866", delimiter="tab"))
    assert [dict(row.values or {}) for row in table] == [{"id": "1", "name, long": "Платье"}]


def test_table_tells_the_torn_end_when_a_gzip_file_is_cut(tmp_path: Path) -> None:
    rows = "".join(f"P{number},{number * 7919 % 1000}\n" for number in range(20000))
    path = written(tmp_path, "t.csv.gz", gzip.compress(f"id,n\n{rows}".encode())[:30000])
    read = list(open_table(path))
    assert len(read) > 1000
    assert all(isinstance(row, Row) for row in read[:-1])
    assert isinstance(read[-1], RefusedRow)
    assert "ends in the middle of its compressed data" in read[-1].reason
