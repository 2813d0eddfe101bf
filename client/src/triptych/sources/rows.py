"""Rows of a source of products: those that were read, and those that were refused with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from triptych.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table as it stands there.

    Attributes:
        number: its number in the table, from 1; header lines do not count, refused rows do.
        line: line of the text file where it begins, from 1; None where a format has no lines.
        values: by name of the column, without empty cells; text in text formats, otherwise values as JSON has them,
            and bytes.
    """

    number: int
    line: int | None
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that was not used.

    Attributes:
        row: its number in the file or iterable, from 1; header lines do not count.
        product_id: the row's product id, if it has one.
        photo: the photo that the row names.
        reason: the error and the next step.
        passing: whether another try may succeed.
        code: of the error, see `TriptychError`; None where a file of embeddings has no code.
        line: line of the text file where the row begins, from 1.
        column: the column at fault.
        value: what this column has, shortened.
        values: the row as it stands in its source, for the file of refused rows.
        is_damaged: whether `values` may lack a part of the row; `value` has its text.
    """

    row: int
    product_id: str | None
    photo: str | None
    reason: str
    passing: bool = False
    code: str | None = InvalidInput.code
    line: int | None = None
    column: str | None = None
    value: str | None = None
    values: Mapping[str, Any] | None = field(default=None, repr=False, compare=False)
    is_damaged: bool = False

    def __str__(self) -> str:
        named = ", ".join(each for each in (self.product_id, self.photo) if each)
        place = f"row {self.row}" if self.line is None else f"row {self.row}, line {self.line}"
        return f"{place}{f' ({named})' if named else ''}: {self.reason}"
