"""What a caller asks of `index` beside an embedding: the JSON of `query`. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from catalogue_errors import InvalidRequest
from filters import Condition, parse_filter
from narrowing import Narrowing, parse_narrowing

MAX_K = 1000
DEFAULT_K = 10


@dataclass(frozen=True)
class Query:
    """Options of a search, as DESIGN.md and the client state them."""

    conditions: tuple[Condition, ...] = ()
    min_similarity: float = -1.0
    group_by_product: bool = True
    exact: bool = False
    narrowing: Narrowing | None = None


def parse_query(text: bytes) -> Query:
    """Raises:
    InvalidRequest: not such an object; the sentence says where.
    """
    asked = parse_object(text, "query")
    filter_ = asked.pop("filter", {})
    conditions = parse_filter({} if filter_ is None else filter_)
    minimum = asked.pop("min_similarity", None)
    if minimum is None:
        minimum = -1.0
    elif isinstance(minimum, bool) or not isinstance(minimum, int | float) or not -1 <= minimum <= 1:
        raise InvalidRequest(f"`min_similarity` is {minimum!r}, expected a number from -1 to 1.")
    flags = {"group_by_product": True, "exact": False}
    for name in flags:
        value = asked.pop(name, flags[name])
        if not isinstance(value, bool):
            raise InvalidRequest(f"`{name}` is {value!r}, expected true or false.")
        flags[name] = value
    narrow = asked.pop("narrow", None)
    narrowing = None if narrow is None else parse_narrowing(narrow)
    refuse_unknown(asked, "query", ("filter", "min_similarity", "narrow", *flags))
    return Query(conditions, float(minimum), narrowing=narrowing, **flags)


def check_k(k: int) -> int:
    """Raises:
    InvalidRequest: too few or too many.
    """
    if not 1 <= k <= MAX_K:
        raise InvalidRequest(f"`k` is {k}, expected 1 to {MAX_K}.")
    return k


def parse_object(text: bytes, name: str) -> dict[str, Any]:
    """A JSON object, without NaN and infinities.

    Raises:
        InvalidRequest: it is not one.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"`{name}` is not JSON ({error}).") from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"`{name}` is JSON but no object, expected {{...}}.")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def refuse_unknown(left: dict[str, Any], name: str, known: tuple[str, ...]) -> None:
    """Raises:
    InvalidRequest: something is left that nobody has taken.
    """
    if left:
        raise InvalidRequest(f"`{name}` has the unknown key {min(left)!r}, expected only: {', '.join(known)}.")
