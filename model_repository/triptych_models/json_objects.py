"""The JSON objects that callers send in string tensors."""

from __future__ import annotations

import json
import math
from typing import Any

from triptych_models.errors import InvalidRequest


def parse_object(text: bytes, name: str) -> dict[str, Any]:
    """A JSON object that can be kept: no NaN, no infinities, whole numbers of 64 bits, no halves of characters.

    Raises:
        InvalidRequest: it is not one.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_int=_whole, parse_float=_finite)
        if b"\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()  # half a character cannot be kept
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"`{name}` is not JSON: it cannot be read from character {error.pos} on.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(
            f"`{name}` is not JSON as expected: UTF-8, whole characters, finite numbers, whole ones of 64 bits at "
            "most, few nested levels."
        ) from error
    if not isinstance(value, dict):
        raise InvalidRequest(f"`{name}` is JSON but no object, expected {{...}}.")
    return value


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
    raise ValueError(f"{name} is no JSON number")


def refuse_unknown(left: dict[str, Any], name: str, known: tuple[str, ...]) -> None:
    """Raises:
    InvalidRequest: something is left that nobody has taken.
    """
    if left:
        raise InvalidRequest(f"`{name}` has the unknown key {min(left)!r}, expected only: {', '.join(known)}.")
