"""What a reader of one format found in a file, and how it goes through the rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.errors import InvalidInput
from triptych.sources.rows import RefusedRow, Row

_NUMBER = re.compile(r"[\d.,\s]*\d[\d.,\s]*")


@dataclass(frozen=True, slots=True)
class Content:
    """A table that was opened.

    Attributes:
        format: in the user's words, "CSV" for example.
        columns: names of the header, without blanks at both ends, each once.
        understood: sentences about what was found out rather than told.
        rows: goes through the rows from the first; opens the file itself.
    """

    format: str
    columns: tuple[str, ...]
    understood: tuple[str, ...]
    rows: Callable[[], Iterator[Row | RefusedRow]]


def has_values(cells: Sequence[str]) -> bool:
    """Whether a header is a row of the table: an address among its cells, or mostly numbers."""
    filled = [cell for cell in cells if cell.strip()]
    numbers = sum(1 for cell in filled if _NUMBER.fullmatch(cell))
    return any("://" in cell for cell in filled) or numbers * 2 >= len(filled) > 0


def check_header(path: Path, line: int, cells: Sequence[str]) -> None:
    """Raises `InvalidInput` if the line where the names of the columns should be has values or nothing."""
    if has_values(cells):
        raise InvalidInput(
            f"{str(path)!r} has no names of columns: line {line} is {' | '.join(cells)[:200]!r}. Put a line with the "
            "names above the rows."
        )
    if not any(cell.strip() for cell in cells):
        raise InvalidInput(f"{str(path)!r} has no names of columns. Put a line with the names above the rows.")


def name_columns(cells: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names for the cells of a header, and sentences about names that had to be made.

    A second column of the same name is `name 2`; a column without a name is `column N`; columns without a name
    at the end are left out.
    """
    given = [" ".join(cell.replace("\ufeff", "").replace("\u200b", "").split()) for cell in cells]
    while given and not given[-1]:
        given.pop()
    names: list[str] = []
    doubled: list[str] = []
    unnamed: list[str] = []
    for place, name in enumerate(given, start=1):
        kept = name or f"column {place}"
        again = 2
        while kept in names or (kept != name and kept in given):
            kept, again = f"{name or f'column {place}'} {again}", again + 1
        names.append(kept)
        if not name:
            unnamed.append(kept)
        elif kept != name:
            doubled.append(kept)
    told = [f"the column name {kept.rpartition(' ')[0]!r} is there again: read as {kept!r}" for kept in doubled]
    told += [f"a column has no name: read as {kept!r}" for kept in unnamed]
    return tuple(names), tuple(told)
