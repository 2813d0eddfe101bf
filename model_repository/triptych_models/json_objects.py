"""The JSON objects that callers send in string tensors."""

from __future__ import annotations

import json
from typing import Any

from triptych_models.errors import InvalidRequest


def parse_object(text: bytes, name: str) -> dict[str, Any]:
    """A JSON object, without NaN and infinities.

    Raises:
        InvalidRequest: it is not one.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"`{name}` is not JSON: it cannot be read from character {error.pos} on.") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"`{name}` is not JSON: expected UTF-8, finite numbers, fewer nested levels.") from error
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
