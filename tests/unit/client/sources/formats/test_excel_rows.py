"""Excel workbooks: values, sheets, errors of formulas, headers below titles."""

from __future__ import annotations

import datetime
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from triptych.errors import InvalidInput
from triptych.sources.rows import RefusedRow, Row
from triptych.sources.table import TableOptions, open_table

openpyxl = pytest.importorskip("openpyxl")


def workbook(tmp_path: Path, *sheets: tuple[str, Sequence[Sequence[Any]]], hidden: tuple[str, ...] = ()) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, lines in sheets:
        sheet = book.create_sheet(title)
        for line in lines:
            sheet.append(line)
        if title in hidden:
            sheet.sheet_state = "hidden"
    book.save(tmp_path / "t.xlsx")
    return tmp_path / "t.xlsx"


def test_excel_gives_plain_values_when_types_differ(tmp_path: Path) -> None:
    when = datetime.datetime(2026, 1, 2, 3, 4)
    header = ["id", "ean", "price", "whole", "date", "when", "time", "flag", "text", "empty"]
    row = [1001, "007", 59.9, 5.0, datetime.date(2026, 1, 2), when, datetime.time(3, 4), True, "a\nb", None]
    table = open_table(workbook(tmp_path, ("Data", [header, row])))
    (read,) = table
    assert (table.format, table.columns, table.understood) == ("Excel", tuple(header), ())
    assert isinstance(read, Row)
    assert (read.number, read.line) == (1, 2)
    assert read.values == {
        "id": 1001,
        "ean": "007",
        "price": 59.9,
        "whole": 5,
        "date": "2026-01-02",
        "when": "2026-01-02T03:04:00",
        "time": "03:04:00",
        "flag": True,
        "text": "a\nb",
    }


def test_excel_header_is_found_when_titles_and_empty_lines_and_columns_come_first(tmp_path: Path) -> None:
    lines: list[list[Any]] = [[], [None, "Our products"], [], [None, "id", "name"], [None, 1, "a"], [], [None, 2, "b"]]
    table = open_table(workbook(tmp_path, ("Data", lines)))
    assert table.columns == ("id", "name")
    assert "Our products" in table.understood[0]
    assert [(row.line, row.values) for row in table] == [(5, {"id": 1, "name": "a"}), (7, {"id": 2, "name": "b"})]


@pytest.mark.parametrize("error", ["#N/A", "#REF!", "#DIV/0!"])
def test_excel_row_alone_is_refused_when_a_formula_failed(error: str, tmp_path: Path) -> None:
    rows = list(open_table(workbook(tmp_path, ("Data", [["id", "price"], [1, 5], [2, error], [3, 7]]))))
    assert [type(row) for row in rows] == [Row, RefusedRow, Row]
    refused = rows[1]
    assert isinstance(refused, RefusedRow)
    assert (refused.row, refused.line, refused.column, refused.value) == (2, 3, "price", error)


def test_excel_row_alone_is_refused_when_it_is_wider_than_the_header(tmp_path: Path) -> None:
    rows = list(open_table(workbook(tmp_path, ("Data", [["id", "price"], [1, 5], [2, 6, "x"], [3, 7]]))))
    assert [type(row) for row in rows] == [Row, RefusedRow, Row]


def test_excel_says_so_when_formulas_have_no_results(tmp_path: Path) -> None:
    table = open_table(workbook(tmp_path, ("Data", [["id", "price"], [1, "=1+1"]])))
    assert "column 'price' has formulas without results" in table.understood[0]


def test_excel_reads_the_first_visible_sheet_and_names_the_others(tmp_path: Path) -> None:
    path = workbook(
        tmp_path,
        ("Old", [["id", "x"], [1, 1]]),
        ("New", [["id", "y"], [2, 2]]),
        ("More", [["id", "z"], [3, 3]]),
        hidden=("Old",),
    )
    assert open_table(path).columns == ("id", "y")
    assert open_table(path).understood == ("sheet 'New'; not read: 'Old', 'More' (--sheet NAME reads one)",)
    assert open_table(path, TableOptions(sheet="more ")).columns == ("id", "z")
    with pytest.raises(InvalidInput, match="no sheet 'None'; it has 'Old', 'New', 'More'"):
        open_table(path, TableOptions(sheet="None"))


def test_excel_is_read_when_its_name_ends_otherwise(tmp_path: Path) -> None:
    path = workbook(tmp_path, ("Data", [["id", "name"], [1, "a"]])).rename(tmp_path / "products.csv")
    assert [row.values for row in open_table(path)] == [{"id": 1, "name": "a"}]


def test_excel_names_the_sheet_when_it_is_empty(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"The sheet 'Data' of .* is empty"):
        open_table(workbook(tmp_path, ("Data", [])))


def test_excel_says_that_rows_are_lost_when_the_sheet_is_cut(tmp_path: Path) -> None:
    path = workbook(tmp_path, ("Data", [["id", "name"], *([n, f"name {n}"] for n in range(1000))]))
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = parts["xl/worksheets/sheet1.xml"]
    parts["xl/worksheets/sheet1.xml"] = sheet[: len(sheet) // 2]
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    rows = list(open_table(path))
    assert len(rows) > 300
    assert all(isinstance(row, Row) for row in rows[:-1])
    assert isinstance(rows[-1], RefusedRow)
    assert "damaged from here on" in rows[-1].reason
