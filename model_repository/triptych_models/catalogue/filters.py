"""Filters: conditions on the fields of photos, evaluated in Python or as SQL over the table `attributes`. Pure.

    {"category": "Shoes", "brand": ["A", "B"], "price": {"gte": 10, "lt": 50}, "colour": {"ne": "red"}}

A photo must meet all conditions. A photo without the field meets only the conditions `ne` and `exists: false`.
"""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from triptych_models.errors import InvalidFilter, quoted

Value = str | int | float

_COMPARISONS = {"gte": ">=", "gt": ">", "lte": "<=", "lt": "<"}
OPERATORS = (*_COMPARISONS, "ne", "exists")
MAX_CONDITIONS = 32
MAX_CHOICES = 256


@dataclass(frozen=True)
class Condition:
    """A condition on one field: `operator` is `in` (any of `values`), or one of `OPERATORS` with one value."""

    field: str
    operator: str
    values: tuple[Value, ...]


def parse_filter(filter_: Any) -> tuple[Condition, ...]:
    """The conditions of a filter, in the filter's order.

    Raises:
        InvalidFilter: the filter is malformed; the message names the field.
    """
    if not isinstance(filter_, dict):
        raise InvalidFilter(f'The filter is {_kind(filter_)}; expected an object such as {{"field": "value"}}.')
    conditions = [condition for field, wanted in filter_.items() for condition in _parse_field(field, wanted)]
    if len(conditions) > MAX_CONDITIONS:
        raise InvalidFilter(f"The filter has {len(conditions)} conditions; expected at most {MAX_CONDITIONS}.")
    return tuple(conditions)


def _parse_field(field: str, wanted: Any) -> Iterable[Condition]:
    if isinstance(wanted, list):
        if not 1 <= len(wanted) <= MAX_CHOICES:
            raise InvalidFilter(
                f"The filter on {quoted(field)} lists {len(wanted)} values; expected 1 to {MAX_CHOICES}."
            )
        return [Condition(field, "in", tuple(_scalar(field, value) for value in wanted))]
    if not isinstance(wanted, dict):
        return [Condition(field, "in", (_scalar(field, wanted),))]
    if not wanted:
        raise InvalidFilter(f"The filter on {quoted(field)} has no operator; expected one of {', '.join(OPERATORS)}.")
    return [_parse_operator(field, name, value) for name, value in wanted.items()]


def _parse_operator(field: str, name: str, value: Any) -> Condition:
    if name not in OPERATORS:
        raise InvalidFilter(
            f"The filter on {quoted(field)} has the operator {quoted(name)}; expected one of {', '.join(OPERATORS)}."
        )
    if name == "exists":
        if not isinstance(value, bool):
            raise InvalidFilter(f"The filter on {quoted(field)}: `exists` is {_kind(value)}; expected true or false.")
        return Condition(field, name, (int(value),))
    return Condition(field, name, (_scalar(field, value),))


def _scalar(field: str, value: Any) -> Value:
    """The value as the store has it: true is 1, false is 0."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise InvalidFilter(
        f"The filter on {quoted(field)} compares with {_kind(value)}; expected a string, a number or a boolean."
    )


def attributes_of(fields: dict[str, Any]) -> Iterable[tuple[str, Value]]:
    """The field values that filters compare: strings, numbers and booleans, alone or in lists."""
    for field, value in fields.items():
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, bool):
                yield field, int(one)
            elif isinstance(one, str | int | float):
                yield field, one


def check_fields(conditions: Iterable[Condition], known: Iterable[str]) -> None:
    """Refuses a field that no product has, so that a typing error does not look like an empty result.

    Raises:
        InvalidFilter: a condition names an unknown field; the message suggests the nearest known name.
    """
    names = sorted(known)
    for condition in conditions:
        if condition.field not in names:
            near = difflib.get_close_matches(condition.field, names, n=1)
            if near:
                advice = f"Did you mean {quoted(near[0])}?"
            else:
                advice = f"There are: {', '.join(names[:20])}." if names else "The catalogue has no fields yet."
            raise InvalidFilter(f"No product has the field {quoted(condition.field)} that the filter names. {advice}")


def meets(conditions: Iterable[Condition], fields: dict[str, Any]) -> bool:
    """Whether a photo with these fields meets all conditions; agrees with `to_sql`, for stores without SQL."""
    attributes = list(attributes_of(fields))
    return all(
        _meets(condition, [value for name, value in attributes if name == condition.field]) for condition in conditions
    )


def _meets(condition: Condition, values: list[Value]) -> bool:
    wanted = condition.values[0]
    if condition.operator == "exists":
        return bool(values) == bool(wanted)
    if condition.operator == "in":
        return any(value in condition.values for value in values)
    if condition.operator == "ne":
        return wanted not in values
    alike = [value for value in values if isinstance(value, str) == isinstance(wanted, str)]
    return any(_COMPARE[condition.operator](value, wanted) for value in alike)


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "gte": operator.ge,
    "gt": operator.gt,
    "lte": operator.le,
    "lt": operator.lt,
}


def to_sql(conditions: Iterable[Condition]) -> tuple[str, list[Value]]:
    """An SQL query for the ids of the photos that meet all conditions, and the query's parameters."""
    parts, values = [], []
    for condition in conditions:
        sql, own = _condition_sql(condition)
        parts.append(sql)
        values += own
    return " INTERSECT ".join(parts) or "SELECT id FROM photos", values


def _condition_sql(condition: Condition) -> tuple[str, list[Value]]:
    having = "SELECT photo FROM attributes WHERE name = ?"
    # SQLite allows only simple SELECTs between INTERSECTs.
    others = "SELECT id FROM photos WHERE id NOT IN ({})"
    if condition.operator == "exists":
        return (having if condition.values[0] else others.format(having)), [condition.field]
    if condition.operator == "in":
        marks = ", ".join("?" * len(condition.values))
        return f"{having} AND value IN ({marks})", [condition.field, *condition.values]
    if condition.operator == "ne":
        return others.format(f"{having} AND value = ?"), [condition.field, *condition.values]
    # In SQLite every text compares greater than every number.
    kind = "= 'text'" if isinstance(condition.values[0], str) else "<> 'text'"
    compared = f"{having} AND value {_COMPARISONS[condition.operator]} ? AND typeof(value) {kind}"
    return compared, [condition.field, *condition.values]


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "a boolean", dict: "an object", list: "a list", str: "a string"}
    return names.get(type(value), "a number")
