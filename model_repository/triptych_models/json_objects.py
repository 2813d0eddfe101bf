"""JSON objects in string tensors of requests."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from triptych_models.errors import InvalidRequest, quoted

# Levels of lists and objects. The parser itself would accept about 1,000, some of which cannot be written again.
MAX_DEPTH = 32


def parse_object(text: bytes, name: str) -> dict[str, Any]:
    """A JSON object that can be stored: no NaN, no infinities, integers of 64 bits, no unpaired surrogates.

    Raises:
        InvalidRequest: the text is not such an object.
    """
    try:
        # Decoded here: the parser decodes bytes itself, accepts UTF-16, and lets unpaired surrogates pass.
        decoded = text.decode("utf-8-sig")
        value = json.loads(decoded, parse_constant=_refuse_constant, parse_int=_whole, parse_float=_finite)
        _check_depth(value)
        if "\\ud" in decoded or "\\uD" in decoded:
            json.dumps(value, ensure_ascii=False).encode()  # an unpaired surrogate cannot be encoded
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"`{name}` is not JSON: it cannot be parsed from character {error.pos} on.") from error
    except (ValueError, RecursionError) as error:
        fault = _find_fault(text)
        raise InvalidRequest(
            f"`{name}` is invalid{'' if fault is None else f': {fault}'}; expected JSON in UTF-8 without unpaired "
            "surrogates, with finite numbers, with whole numbers of at most 64 bits, and with at most "
            f"{MAX_DEPTH} nested levels."
        ) from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"`{name}` is JSON but not an object; expected {{...}}.")
    return value


@dataclass(frozen=True)
class _Unfit:
    """In place of a number that cannot be stored; `what` describes it."""

    what: str


def _find_fault(text: bytes) -> str | None:
    """Where in the text something is that cannot be stored, and what; None where that cannot be told."""
    try:
        decoded = text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return f"byte {error.start} is no UTF-8"
    try:
        left: list[tuple[tuple[str | int, ...], Any]] = [((), _load_all(decoded))]
    except (ValueError, RecursionError):
        return None
    while left:
        place, value = left.pop()
        if len(place) > MAX_DEPTH:
            return f"{_describe(place[:3])} is nested in more than {MAX_DEPTH} levels"
        if isinstance(value, _Unfit):
            return f"{_describe(place)} is {value.what}"
        if isinstance(value, str) and not _fits(str.encode, value):
            return f"{_describe(place)} has an unpaired surrogate, half an emoji for example"
        entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, part in reversed([*entries]):
            if isinstance(key, str) and not _fits(str.encode, key):
                return f"a name in {_describe(place)} has an unpaired surrogate"
            left.append(((*place, key), part))
    return None


def _load_all(text: str) -> Any:
    """The value with an `_Unfit` for each number that cannot be stored."""
    return json.loads(
        text,
        parse_int=lambda digits: digits if _fits(_whole, digits) else _Unfit(f"a whole number of {len(digits)} digits"),
        parse_float=lambda digits: digits if _fits(_finite, digits) else _Unfit("a number that is too large"),
        parse_constant=_Unfit,
    )


def _fits(check: Callable[[str], Any], text: str) -> bool:
    try:
        check(text)
    except ValueError:
        return False
    return True


def _describe(place: tuple[str | int, ...]) -> str:
    """A place in the object: `price` of `fields` of item 3."""
    if place[:1] == ("items",) and len(place) > 1:
        names = [f"item {place[1]}", *map(quoted, place[2:])]
    else:
        names = [*map(quoted, place)] or ["the object"]
    return " of ".join(reversed(names))


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [one for part in level if isinstance(part, dict | list) for one in _parts(part)]
        if not level:
            return
    raise ValueError("too many levels")


def _parts(value: dict[str, Any] | list[Any]) -> list[Any]:
    return [*value.values()] if isinstance(value, dict) else value


def _whole(digits: str) -> int:
    value = int(digits)
    if not -(2**63) <= value < 2**63:
        raise ValueError("more than 64 bits")
    return value


def _finite(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError("too large")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def refuse_unknown(left: dict[str, Any], name: str, known: tuple[str, ...]) -> None:
    """Refuses keys that are not known.

    Args:
        left: the object without its known keys.
        name: name of the object in the message.
        known: the known keys.

    Raises:
        InvalidRequest: `left` is not empty.
    """
    if left:
        raise InvalidRequest(f"`{name}` has the unknown key {quoted(min(left))}, expected only: {', '.join(known)}.")
