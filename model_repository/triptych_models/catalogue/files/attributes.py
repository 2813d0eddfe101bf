"""Reads of the table `attributes`, each a few lookups in its primary key (name, value, photo)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from triptych_models.catalogue.field_kinds import Holding

# Runs a query with its parameters and returns its rows.
Read = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]


def field_names(read: Read) -> list[str]:
    """Every field that a photo has; one lookup for each field."""
    rows = read(
        "WITH RECURSIVE names (name) AS (SELECT min(name) FROM attributes UNION ALL "
        "SELECT (SELECT min(a.name) FROM attributes a WHERE a.name > names.name) FROM names WHERE name NOT NULL) "
        "SELECT name FROM names WHERE name NOT NULL",
        (),
    )
    return [row[0] for row in rows]


def has_field(read: Read, field: str) -> bool:
    """Whether a photo has the field."""
    return bool(read("SELECT 1 FROM attributes WHERE name = ? LIMIT 1", (field,)))


def read_kind(read: Read, field: str, *, is_text: bool, limit: int) -> Holding:
    """See `FieldReader`; in SQLite every text follows every number."""
    of_kind = f"FROM attributes WHERE name = ? AND value {'>=' if is_text else '<'} ''"
    ((photos, example),) = read(
        f"SELECT count(*), (SELECT value {of_kind} LIMIT 1) FROM (SELECT DISTINCT photo {of_kind} LIMIT ?)",
        (field, field, limit),
    )
    return Holding(photos, example)
