"""Values of formats with types: made plain (text, numbers, booleans, lists, objects, bytes), or refused."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from triptych.sources.formats.encoding import MARK, shown

_LARGEST, _DEEPEST = 1 << 63, 32
_LONGEST_VALUE = 80


class BadValueError(Exception):
    """A value that no row can have.

    Attributes:
        column: of the value.
        value: as text, shortened.
    """

    def __init__(self, column: str, value: Any, reason: str) -> None:
        """`reason` says what is wrong and what to do next."""
        super().__init__(f"column {column!r}: {reason}")
        self.column = column
        text = shown(value if isinstance(value, str) else str(value))
        self.value = text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


def plain_values(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The values of a row without empty ones (null, NaN, empty text).

    Dates and times become ISO text, durations seconds. A decimal number becomes an int if its type has no decimals,
    a float if the float's shortest text is the same number, and else stays text.

    Raises:
        BadValueError: half of a surrogate pair, an integer beyond 64 bits, an infinite number, too deep nesting.
    """
    values: dict[str, Any] = {}
    for name, value in pairs:
        if not name.isascii() and MARK.search(name):
            raise BadValueError(
                shown(name), value, "its name holds half of a surrogate pair (half an emoji). Repair it."
            )
        if value is None or value == "":
            continue
        if type(value) is not str or not value.isascii():
            try:
                value = _plain(value, 0)
            except ValueError as error:
                raise BadValueError(name, value, str(error)) from error
            if value is None:
                continue
        values[name] = value
    return values


def shown_values(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The values of a refused row as far as JSON has them; the rest as text."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        if value is None or value == "":
            continue
        try:
            values[shown(name)] = _plain(value, 0)
        except ValueError:
            values[shown(name)] = shown(str(value))
    return values


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        if not value.isascii() and MARK.search(value):
            raise ValueError("it holds half of a surrogate pair (half an emoji). Remove or repair the character.")
        return value
    if isinstance(value, bool | bytes):
        return value
    if isinstance(value, int):
        if not -_LARGEST <= value < _LARGEST:
            raise ValueError("an integer beyond 64 bits. Write it as text.")
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError("an infinite number, or one beyond 1.8e308. Leave the cell empty, or write a number.")
        return None if math.isnan(value) else value
    return _plain_rarer(value, depth)


def _plain_rarer(value: Any, depth: int) -> Any:
    if isinstance(value, Decimal):
        return _plain_decimal(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if depth == _DEEPEST:
        raise ValueError(f"lists and objects lie more than {_DEEPEST} levels deep.")
    if isinstance(value, Mapping):
        return {_plain(name, 0): _plain(each, depth + 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, depth + 1) for each in value]
    return None if value is None else str(value)


def _plain_decimal(value: Decimal) -> int | float | str | None:
    if not value.is_finite():
        if value.is_nan():
            return None
        raise ValueError("an infinite number. Leave the cell empty, or write a number.")
    if int(value.as_tuple().exponent) >= 0:
        return int(_plain(int(value), 0))
    number = float(value)
    return number if Decimal(repr(number)) == value else str(value)
