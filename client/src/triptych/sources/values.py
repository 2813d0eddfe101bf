"""Counts over the values of a column, and the rule by which they become numbers, true or false, or text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from triptych.errors import InvalidInput
from triptych.sources.numbers_text import Shape, number_of, one_currency, shape_of, truth_of
from triptych.sources.report import EXAMPLES

MARKS: dict[str | None, str] = {",": "comma", ".": "point"}
ColumnKind = Literal["number", "boolean", "text"]


@dataclass(frozen=True, slots=True)
class ValueOptions:
    """What the user has decided about values.

    Attributes:
        text: columns that stay text.
        decimal: decimal mark of every column, "," or "."; None: decided from the values.
        kinds: rules of an earlier run by column, of a file of refused rows; see `ColumnRule.as_json`.
        default_decimal: the mark of a format that states one, for columns where no value decides.
    """

    text: Sequence[str] = ()
    decimal: str | None = None
    kinds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    default_decimal: str | None = None

    def __post_init__(self) -> None:
        """Raises `InvalidInput` for another decimal mark."""
        if self.decimal not in (None, ",", "."):
            raise InvalidInput(f"The decimal mark is {self.decimal!r}; expected ',' or '.'.")


class ValueFault(Exception):
    """A value that does not fit the rule of its column: the reason of a refused row.

    Attributes:
        column: its name.
        value: the value, shortened.
    """

    def __init__(self, column: str, value: object, message: str) -> None:
        """Creates the error with its sentence."""
        super().__init__(message)
        self.column = column
        self.value = shortened(value)


class Absent:
    """The value of a cell that says that there is none."""


ABSENT = Absent()


@dataclass
class ColumnCounts:
    """Counts over the values of one column, with a few examples; never the values."""

    numbers: int = 0
    typed: int = 0
    booleans: int = 0
    codes: int = 0
    missing: int = 0
    texts: int = 0
    other: int = 0
    quantities: int = 0
    percents: int = 0
    objects: int = 0
    binary: int = 0
    marks: dict[str, int] = field(default_factory=dict)
    currencies: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, value: Any) -> None:
        """Counts one value."""
        if isinstance(value, str):
            self._add_text(value, shape_of(value))
        elif isinstance(value, bool):
            self.booleans += 1
        elif isinstance(value, float) and value != value:
            self.missing += 1
        elif isinstance(value, (int, float)):
            self.typed += 1
            self.quantities += isinstance(value, float) and not value.is_integer()
        else:
            self.other += 1
            if _has_bytes(value):
                self.binary += 1
            elif isinstance(value, Mapping):
                self.objects += 1
                self._keep("object", ", ".join(map(str, value)))

    def _add_text(self, text: str, shape: Shape) -> None:
        kind = shape.kind
        if kind == "text":
            self.texts += 1
            self._keep("text", text)
        elif kind == "number":
            self.numbers += 1
            self.quantities += shape.is_quantity
            self.percents += shape.is_percent
            self.marks[shape.mark] = self.marks.get(shape.mark, 0) + 1
            if shape.currency is not None:
                self.currencies[shape.currency] = self.currencies.get(shape.currency, 0) + 1
                self._keep(shape.currency, text)
            self._keep(shape.mark, text)
            if shape.is_percent:
                self._keep("percent", text)
        elif kind == "code":
            self.codes += 1
            self._keep("code", text)
        elif kind == "boolean":
            self.booleans += 1
            self._keep("boolean", text)
        else:
            self.missing += 1

    def _keep(self, of: str, text: str) -> None:
        examples = self.examples.setdefault(of, [])
        if len(examples) < EXAMPLES and text not in examples:
            examples.append(text)

    def shown(self, *of: str) -> str:
        """The first examples of some kinds, for a sentence."""
        return ", ".join(repr(shortened(text)) for one in of for text in self.examples.get(one, ()))

    @property
    def filled(self) -> int:
        """The number of values that say something."""
        return self.numbers + self.typed + self.booleans + self.codes + self.texts + self.other


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """What the values of a column become.

    Attributes:
        column: its name.
        kind: of the values.
        decimal: the decimal mark of its numbers, None where no value needs one.
        stated: the rule in words: "numbers, decimal comma, EUR".
        notice: what deserves a look, or None.
        share: of the values, those that fit the kind.
        currency: of its prices, None where none has one.
    """

    column: str
    kind: ColumnKind
    decimal: str | None = None
    stated: str = "text"
    notice: str | None = None
    share: float = 1.0
    currency: str | None = None

    def value_of(self, value: Any) -> Any:
        """The value of a cell under this rule; `ABSENT` for a word that means so.

        Raises:
            ValueFault: the value does not fit.
        """
        if not isinstance(value, str):
            return self._typed(value)
        if self.kind == "text":
            return value
        shape = shape_of(value)
        if shape.kind == "missing":
            return ABSENT
        if self.kind == "boolean":
            if shape.kind == "boolean":
                return truth_of(value)
            raise self._fault(value, "neither true nor false")
        found = number_of(shape, self.decimal) if shape.kind == "number" else None
        if found is None:
            mark = f" with a decimal {MARKS[self.decimal]}" if self.decimal is not None and shape.mark else ""
            raise self._fault(value, f"no number{mark}")
        if self.currency and shape.currency and one_currency({self.currency, shape.currency}) is None:
            raise self._fault(value, f"a price in {shape.currency}")
        return found

    def _typed(self, value: Any) -> Any:
        if (isinstance(value, float) and value != value) or _has_bytes(value):
            return ABSENT
        if self.kind == "number" and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise self._fault(value, "no number")
        if self.kind == "boolean" and not isinstance(value, bool):
            raise self._fault(value, "neither true nor false")
        return value

    def _fault(self, value: object, what: str) -> ValueFault:
        kind = "numbers" if self.kind == "number" else "true or false"
        kind += f" in {self.currency}" if self.currency else ""
        share = f"{min(self.share, 0.999):.1%} of the column's values are".replace(".0%", "%")
        fits = share if self.share < 1 else "the values of the column are"
        return ValueFault(
            self.column,
            value,
            f"{self.column} is {shortened(value)!r}, which is {what}; {fits} {kind}. Correct the value, or keep the "
            f"column as text (--text {quoted(self.column)}).",
        )

    def as_json(self) -> dict[str, Any]:
        """The rule for `ValueOptions.kinds`."""
        told = {"kind": self.kind, "decimal": self.decimal, "currency": self.currency}
        return {name: value for name, value in told.items() if value is not None}


def quoted(name: str) -> str:
    """A name as an argument of a shell."""
    return name if name.replace("_", "").isalnum() and name.isascii() else "'" + name.replace("'", "'\\''") + "'"


def shortened(value: object) -> str:
    """A value for a sentence, at most 60 characters."""
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _has_bytes(value: object) -> bool:
    """Whether a value is bytes, or a list or an object with bytes."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return True
    if isinstance(value, Mapping):
        return any(map(_has_bytes, value.values()))
    return isinstance(value, (list, tuple)) and any(map(_has_bytes, value))
