"""Excel workbooks (.xlsx) by openpyxl, a row at a time. Of formulas, the results are read that Excel stored."""

from __future__ import annotations

import re
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, time
from itertools import islice
from pathlib import Path
from typing import Any

from triptych._optional import require
from triptych.errors import InvalidInput
from triptych.sources.formats.cells import BadValueError, plain_values, shown_values
from triptych.sources.formats.content import Content, check_header, name_columns
from triptych.sources.rows import RefusedRow, Row

_BEFORE_HEADER = 30  # rows among which the header is looked for
_SAMPLE = 200
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, SyntaxError, zlib.error, zipfile.BadZipFile)
_ERRORS = frozenset(("#N/A", "#REF!", "#VALUE!", "#DIV/0!", "#NAME?", "#NUM!", "#NULL!", "#GETTING_DATA", "#SPILL!"))
_ESCAPE = re.compile("_x([0-9A-Fa-f]{4})_")  # how Excel writes characters that XML has not


def open_excel(path: Path, sheet: str | None) -> Content:
    """Finds the sheet and the header.

    Raises:
        InvalidInput: another format of spreadsheets, a damaged file, no such sheet, or an empty one.
        ModuleNotFoundError: openpyxl is not installed.
    """
    _check_format(path)
    with _sheet(path, sheet) as (found, told):
        name = str(found.title)
        lines = [(line, _texts(cells)) for line, cells in _sample(path, found)]
    filled = [(line, cells) for line, cells in lines if any(cells)]
    if not filled:
        raise InvalidInput(f"The sheet {name!r} of {str(path)!r} is empty. Name another sheet, or fill it.")
    first = min(next(at for at, text in enumerate(cells) if text) for _, cells in filled)  # columns before it are empty
    filled = [(line, cells[first:]) for line, cells in filled]
    place = _header_at([cells for _, cells in filled])
    header_line, header = filled[place]
    if place:
        titles = " ".join(text for _, cells in filled[:place] for text in cells if text)
        told.append(f"rows above row {header_line} are titles and no rows of the table: {titles!r}")
    check_header(path, header_line, header)
    columns, named = name_columns(header)
    told += [*named, *_without_results(path, name, columns, header_line, first)]

    def rows() -> Iterator[Row | RefusedRow]:
        with _sheet(path, name) as (again, _):
            number = 0
            try:
                for line, cells in _lines(again):
                    if line > header_line and any(cell.value not in (None, "") for cell in cells):
                        number += 1
                        yield _row(number, line, columns, cells[first:])
            except _DAMAGE as error:
                reason = f"the sheet is damaged from here on ({error}); rows after this one are lost. Save it again."
                yield RefusedRow(number + 1, None, None, reason)

    return Content("Excel", columns, tuple(told), rows)


def _check_format(path: Path) -> None:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        kind = None if "xl/workbook.xml" in names else "an OpenDocument spreadsheet (.ods)"
        kind = "a binary Excel workbook (.xlsb)" if "xl/workbook.bin" in names else kind
    else:
        kind = "an Excel file of before 2007 (.xls), or one with a password"
    if kind is not None:
        raise InvalidInput(f"{str(path)!r} is {kind}. Open it and save it as .xlsx without a password.")


@contextmanager
def _book(path: Path, results: bool) -> Iterator[Any]:
    """The workbook, with the results of formulas or with the formulas."""
    openpyxl = require("openpyxl", extra="tables", wanted_by=f"Reading {path}")
    with open(path, "rb") as file:  # by its name, openpyxl would refuse other suffixes
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of styles and extensions that are no data
                book = openpyxl.load_workbook(file, read_only=True, data_only=results)
        except _DAMAGE as error:
            raise InvalidInput(
                f"{str(path)!r} is an Excel file that cannot be read ({error}). Open and save it again."
            ) from error
        try:
            yield book
        finally:
            book.close()


@contextmanager
def _sheet(path: Path, name: str | None) -> Iterator[tuple[Any, list[str]]]:
    with _book(path, results=True) as book:
        yield _chosen(path, book, name)


def _chosen(path: Path, book: Any, name: str | None) -> tuple[Any, list[str]]:
    sheets = list(book.worksheets)
    visible = [each for each in sheets if each.sheet_state == "visible"] or sheets
    if name is not None:
        found = next((each for each in sheets if each.title.strip().casefold() == name.strip().casefold()), None)
        if found is None:
            titles = ", ".join(repr(each.title) for each in sheets)
            raise InvalidInput(f"{str(path)!r} has no sheet {name!r}; it has {titles}.")
        return found, []
    if not visible:
        raise InvalidInput(f"{str(path)!r} has no sheet with cells.")
    others = [each.title for each in sheets if each is not visible[0]]
    left = f"; not read: {', '.join(map(repr, others))} (--sheet NAME reads one)" if others else ""
    return visible[0], [f"sheet {visible[0].title!r}{left}"] if others else []


def _sample(path: Path, sheet: Any) -> list[tuple[int, tuple[Any, ...]]]:
    lines = []
    try:
        for line in islice(_lines(sheet), _SAMPLE):
            lines.append(line)
    except _DAMAGE as error:
        if not lines:
            raise InvalidInput(f"A sheet of {str(path)!r} cannot be read ({error}). Save the file again.") from error
    return lines


def _lines(sheet: Any) -> Iterator[tuple[int, tuple[Any, ...]]]:
    sheet.reset_dimensions()  # exporters write wrong ones
    return enumerate(sheet.iter_rows(), start=1)


def _texts(cells: tuple[Any, ...]) -> list[str]:
    return ["" if cell.value is None else str(_plain(cell)).strip() for cell in cells]


def _header_at(lines: list[list[str]]) -> int:
    """The first line with several names; lines of one text above it are titles."""
    if max(sum(map(bool, line)) for line in lines) == 1:
        return 0
    for place, line in enumerate(lines[:_BEFORE_HEADER]):
        if sum(map(bool, line)) > 1:
            return place
    return 0


def _plain(cell: Any) -> Any:
    value = cell.value
    if isinstance(value, str):
        return _ESCAPE.sub(lambda code: chr(int(code[1], 16)), value) if "_x" in value else value
    if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53:
        return int(value)
    if isinstance(value, datetime) and value.time() == time():
        return value.date()  # Excel has no dates without a time
    return value


def _row(number: int, line: int, columns: tuple[str, ...], cells: tuple[Any, ...]) -> Row | RefusedRow:
    width = len(columns)
    values = [_plain(cell) for cell in cells]
    named = list(
        zip([*columns, *(f"column {place}" for place in range(width + 1, len(values) + 1))], values, strict=False)
    )
    beyond = [name for name, value in named[width:] if value not in (None, "")]
    try:
        for (name, value), cell in zip(named, cells, strict=True):
            if cell.data_type == "e" or (isinstance(value, str) and value in _ERRORS):
                raise BadValueError(name, value, f"the error {value}. Mend its formula, or clear the cell.")
        if beyond:
            raise BadValueError(beyond[0], dict(named)[beyond[0]], "it has no name in the header. Name it.")
        return Row(number, line, plain_values(named))
    except BadValueError as error:
        kept = shown_values(named)
        return RefusedRow(
            number, None, None, str(error), line=line, column=error.column, value=error.value, values=kept
        )


def _without_results(path: Path, name: str, columns: tuple[str, ...], header_line: int, first: int) -> list[str]:
    """Columns with formulas whose results nobody stored: libraries that write Excel files do not calculate."""
    missing: dict[str, None] = {}
    with _book(path, results=False) as book, _sheet(path, name) as (results, _):
        both = zip(_sample(path, book[name]), _sample(path, results), strict=False)
        for (line, formulas), (_, values) in both:
            for column, formula, value in zip(columns, formulas[first:], values[first:], strict=False):
                if line > header_line and formula.data_type == "f" and value.value is None:
                    missing[column] = None
    return [
        f"column {column!r} has formulas without results, read as empty: open the file in Excel and save it"
        for column in missing
    ]
