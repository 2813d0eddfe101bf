"""Rows of a catalogue that were not used: their sentences, and the file in which they can be mended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from export.training.dataset.catalogue import Catalogue
from export.training.dataset.rows import sentence_of
from triptych.errors import UnreadableImage
from triptych.sources.photo_files import printable_path
from triptych.sources.rejects import RejectsFile, rejects_path
from triptych.sources.rows import RefusedRow
from triptych.sources.rows import Row as SourceRow
from triptych.sources.table import DELIMITED, Table

__all__ = ["RefusedRow", "conclude", "describe_refused", "printable_path", "refuse_unreadable", "sentence_of"]

_SHOWN = 5


def refuse_unreadable(catalogue: Catalogue, unreadable: Mapping[Path, str]) -> list[RefusedRow]:
    """The rows whose photo cannot be read, with the reason."""
    return [
        RefusedRow(
            row.number,
            row.product,
            printable_path(str(row.photo)),
            unreadable[row.photo],
            code=UnreadableImage.code,
            line=row.line,
            column=catalogue.photo_column,
            value=printable_path(str(row.photo)),
        )
        for row in catalogue.rows
        if row.photo in unreadable
    ]


def conclude(
    catalogue: Catalogue, refused: Sequence[RefusedRow], kept: Path | None, console: Console
) -> dict[str, Any]:
    """Writes the rows of a table that were refused beside the table, and says how many there are.

    Args:
        catalogue: that was read.
        refused: all rows that were not used.
        kept: file with the refused photos of a folder, if there is one.
        console: for the sentences.

    Returns:
        What a report says about them, with the exit code 1; nothing if there are none.
    """
    if not refused:
        return {}
    file = kept
    if catalogue.table is not None:
        file, problem = _write(catalogue.table, refused)
        if problem is not None:
            console.print(f"warning: {problem}.", markup=False)
    describe_refused(refused, catalogue.read, console)
    if file is not None:
        console.print(f"They are in {file}, each with its reason. The exit status is 1.", markup=False)
    return {"refused": len(refused), "rejects": None if file is None else str(file), "exit_code": 1}


def describe_refused(refused: Sequence[RefusedRow], read: int, console: Console) -> None:
    """Prints the number of refused rows, and the first of them."""
    console.print(f"warning: {len(refused)} of {read} rows or photos were refused; all others were used:", markup=False)
    for one in refused[:_SHOWN]:
        console.print(f"    {sentence_of(one)}", markup=False)
    if len(refused) > _SHOWN:
        console.print(f"    ... and {len(refused) - _SHOWN} more", markup=False)


def _write(table: Table, refused: Sequence[RefusedRow]) -> tuple[Path | None, str | None]:
    """The file with the rows as they stand in the table, or None and what prevented it."""
    untold = {one.row for one in refused if one.values is None}
    values = (
        {row.number: row.values for row in table if isinstance(row, SourceRow) and row.number in untold}
        if untold
        else {}
    )
    path = rejects_path(table.path, table.format in DELIMITED)
    with RejectsFile(path, table.columns, {}) as file:
        for one in sorted(refused, key=lambda each: each.row):
            file.add(one if one.values is not None else replace(one, values=values.get(one.row)))
    return (path, None) if file.error is None else (None, file.error)
