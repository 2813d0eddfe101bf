"""What a source held: what was skipped, by reason with first examples, and how it was understood. Prints nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Examples of each reason that a report keeps.
EXAMPLES = 3
# Columns of one kind that have a line each, columns that a line names, and notices that a report prints.
_ALONE = 8
_LISTED = 40
_NOTICES = 12


@dataclass(frozen=True, slots=True)
class Skipped:
    """Rows, files or photos that were passed over for one reason.

    Attributes:
        reason: in the user's words, for example "variant without a photo of its own".
        count: how many there were.
        examples: the first of them: "row 7", "photos/.thumbs/1.jpg".
    """

    reason: str
    count: int
    examples: tuple[str, ...]

    def __str__(self) -> str:
        more = ", ..." if self.count > len(self.examples) else ""
        return f"{self.count} skipped: {self.reason} ({', '.join(self.examples)}{more})"

    def as_json(self) -> dict[str, Any]:
        """The fields of a report in JSON."""
        return {"reason": self.reason, "count": self.count, "examples": list(self.examples)}


class SkipCounter:
    """Counts what is passed over, by reason; keeps the first examples only."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._examples: dict[str, list[str]] = {}

    def add(self, reason: str, example: str) -> None:
        """Counts one."""
        self._counts[reason] = self._counts.get(reason, 0) + 1
        examples = self._examples.setdefault(reason, [])
        if len(examples) < EXAMPLES and example not in examples:
            examples.append(example)

    @property
    def total(self) -> int:
        """The number of all that were passed over."""
        return sum(self._counts.values())

    def skipped(self) -> tuple[Skipped, ...]:
        """The reasons in the order of their first appearance."""
        return tuple(Skipped(reason, count, tuple(self._examples[reason])) for reason, count in self._counts.items())


@dataclass(frozen=True, slots=True)
class Understanding:
    """How a source was understood.

    Attributes:
        format: in the user's words: "CSV", "folder of photos".
        sentences: about the source as a whole: encoding, delimiter, preset, which column is what.
        columns: the columns of each role: {"product_id": ("SKU",), "photo": ("Image Src",)}.
        kinds: what the values of a column are: {"price": "numbers, decimal comma, EUR", "brand": "text"}.
        notices: what deserves a look, for example a column that stays text since it mixes numbers and words.
    """

    format: str
    sentences: tuple[str, ...] = ()
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()

    def lines(self) -> tuple[str, ...]:
        """The lines of a report; columns of one kind share one if they stay text or are many."""
        names: dict[str, list[str]] = {}
        for name, kind in self.kinds.items():
            names.setdefault(kind, []).append(name)
        plain = names.pop("text", [])
        told = []
        for kind, of_kind in names.items():
            told += (
                [f"{kind}: {_listed(of_kind)}"] if len(of_kind) > _ALONE else [f"{name}: {kind}" for name in of_kind]
            )
        if plain:
            told.append(f"text: {_listed(plain)}")
        notices = [f"notice: {notice}" for notice in self.notices[:_NOTICES]]
        if len(self.notices) > _NOTICES:
            notices.append(f"notice: ... and {len(self.notices) - _NOTICES} more (--json has all)")
        return ("; ".join((self.format, *self.sentences)), *told, *notices)

    def as_json(self) -> dict[str, Any]:
        """The fields of a report in JSON."""
        return {
            "format": self.format,
            "sentences": list(self.sentences),
            "columns": {role: list(names) for role, names in self.columns.items()},
            "kinds": dict(self.kinds),
            "notices": list(self.notices),
        }


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _LISTED} more (--json names all)" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
