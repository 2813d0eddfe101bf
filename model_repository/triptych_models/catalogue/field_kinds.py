"""Whether a filter compares a field with the kind of value that the field holds: texts, or numbers. Sends nothing.

A table whose prices were read as text has a field `price` of texts; the filter `price < 50` would find nothing there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from triptych_models.catalogue.filters import Condition, Value, check_fields
from triptych_models.errors import InvalidFilter, quoted

# More photos than this are not counted for a sentence: a refusal costs no more than a search.
MAX_COUNTED = 10_000


@dataclass(frozen=True)
class Holding:
    """What a field holds of one kind: the number of photos, up to the limit that was asked, and a value of one."""

    photos: int
    example: Value | None


class FieldReader(Protocol):
    """What `check_filter` reads of a store."""

    def has_photos(self) -> bool:
        """Whether the catalogue has a photo."""

    def has_field(self, field: str) -> bool:
        """Whether a photo has the field, as far as this process knows; `field_names` knows all."""

    def field_names(self) -> list[str]:
        """Every field that a photo has."""

    def read_kind(self, field: str, *, is_text: bool, limit: int) -> Holding:
        """The photos whose field holds a text, or a number or boolean; `limit` is the most that are counted."""


def check_filter(conditions: Sequence[Condition], store: FieldReader) -> None:
    """Refuses a filter that cannot mean what it says: of a field that no product has, or of another kind of value.

    Raises:
        InvalidFilter: the message says what the catalogue holds.
    """
    unknown = [condition.field for condition in conditions if not store.has_field(condition.field)]
    if unknown and not store.has_photos():
        raise InvalidFilter(
            f"The catalogue is empty, so no product has the field {quoted(unknown[0])} that the filter names. "
            "Import products first."
        )
    if unknown:
        check_fields(conditions, store.field_names())
    for condition in conditions:
        kinds = _kinds(condition)
        if kinds and not any(store.read_kind(condition.field, is_text=kind, limit=1).photos for kind in kinds):
            raise InvalidFilter(_mismatch(condition, store))


def describe_others(conditions: Iterable[Condition], store: FieldReader) -> list[str]:
    """Sentences about photos that a filter leaves out because their field holds the other kind of value."""
    told = {}
    for condition in conditions:
        kinds = _kinds(condition)
        if len(kinds) == 1 and condition.field not in told:
            (is_text,) = kinds
            others = store.read_kind(condition.field, is_text=not is_text, limit=MAX_COUNTED)
            if others.photos:
                told[condition.field] = (
                    f"The field {quoted(condition.field)} holds {_describe(others, is_text=not is_text)}, which the "
                    f"filter's {_noun(is_text)} is not compared with."
                )
    return list(told.values())


def describe_kinds(store: FieldReader) -> dict[str, str]:
    """What each field holds: text, numbers, or text and numbers; true and false are numbers."""
    named = {}
    for field in store.field_names():
        kinds = ((True, "text"), (False, "numbers"))
        held = [name for is_text, name in kinds if store.read_kind(field, is_text=is_text, limit=1).photos]
        named[field] = " and ".join(held)
    return named


def _kinds(condition: Condition) -> set[bool]:
    """Whether the condition compares with texts, for each of its values."""
    return set() if condition.operator == "exists" else {isinstance(value, str) for value in condition.values}


def _mismatch(condition: Condition, store: FieldReader) -> str:
    is_text = isinstance(condition.values[0], str)
    held = store.read_kind(condition.field, is_text=not is_text, limit=MAX_COUNTED)
    mend = "compare with a number" if is_text else "compare with a text"
    return (
        f"The filter compares {quoted(condition.field)} with the {_noun(is_text)} {quoted(condition.values[0])}, and "
        f"the field holds {_describe(held, is_text=not is_text)}; no photo has a {_noun(is_text)} there. Import the "
        f"products again with a {_noun(is_text)} in this field, or {mend}. `triptych catalogue info` shows what each "
        "field holds."
    )


def _noun(is_text: bool) -> str:
    return "text" if is_text else "number"


def _describe(held: Holding, *, is_text: bool) -> str:
    count = f"{held.photos:,} or more" if held.photos >= MAX_COUNTED else f"{held.photos:,}"
    kind = "text" if is_text else "a number"
    return f"{kind} in {count} photos, such as {quoted(held.example)}"
