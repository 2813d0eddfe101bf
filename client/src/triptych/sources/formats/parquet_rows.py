"""Parquet by pyarrow: batches in bounded memory; a damaged part of the file costs its own rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from triptych._optional import require
from triptych.errors import InvalidInput
from triptych.sources.formats.cells import BadValueError, plain_values, shown_values
from triptych.sources.formats.content import Content, name_columns
from triptych.sources.rows import RefusedRow, Row

_BATCH = 256  # rows; photos in the table make them large


def open_parquet(path: Path) -> Content:
    """Reads the schema.

    Raises:
        InvalidInput: the file is damaged or has no columns.
        ModuleNotFoundError: pyarrow is not installed.
    """
    wanted = f"Reading {path}"
    arrow = require("pyarrow", extra="tables", wanted_by=wanted)
    parquet = require("pyarrow.parquet", extra="tables", wanted_by=wanted)
    try:
        with parquet.ParquetFile(path) as file:
            schema = file.schema_arrow
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise InvalidInput(f"{str(path)!r} is a Parquet file that cannot be read ({error}). Fetch it again.") from error
    names = [str(name) for name in schema.names]
    while names and names[-1].startswith("__index_level_"):
        names.pop()  # the index of pandas is no column of the table
    columns, named = name_columns(names)
    if not columns:
        raise InvalidInput(f"{str(path)!r} has no columns.")
    told = (*named, *_about_index(schema.names, len(columns)))

    def rows() -> Iterator[Row | RefusedRow]:
        number = 0
        with parquet.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                expected = number + file.metadata.row_group(group).num_rows
                try:
                    for batch in file.iter_batches(_BATCH, row_groups=[group], use_threads=False):
                        for values in _tuples(batch, len(columns)):
                            number += 1
                            yield _row(number, columns, values)
                except (OSError, ValueError, arrow.ArrowException) as error:
                    cause = " ".join(str(error).split())
                    reason = f"this part of the Parquet file is damaged ({cause}). Fetch the file again."
                    while number < expected:
                        number += 1
                        yield RefusedRow(number, None, None, reason)

    return Content("Parquet", columns, told, rows)


def _about_index(names: list[str], kept: int) -> tuple[str, ...]:
    return tuple(f"the index of pandas, {name!r}, is left out" for name in names[kept:])


def _tuples(batch: Any, width: int) -> Iterator[tuple[Any, ...]]:
    return zip(*(_cells(batch.column(place)) for place in range(width)), strict=True)


def _cells(column: Any) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except (ValueError, OverflowError, ArithmeticError, TypeError):
        return [_cell(each) for each in column]  # one of them has no counterpart in Python
    return values


def _cell(scalar: Any) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, ArithmeticError, TypeError) as error:
        return error


def _row(number: int, columns: tuple[str, ...], values: tuple[Any, ...]) -> Row | RefusedRow:
    try:
        for name, value in zip(columns, values, strict=True):
            if isinstance(value, Exception):
                raise BadValueError(name, "", f"a value that cannot be read ({value}). Correct it in the file.")
        return Row(number, None, plain_values(zip(columns, values, strict=True)))
    except BadValueError as error:
        kept = shown_values(zip(columns, values, strict=True))
        return RefusedRow(number, None, None, str(error), column=error.column, value=error.value, values=kept)
