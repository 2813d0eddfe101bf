"""Formats log lines, one event each: `event key=value key="two words"`. Pure."""

from __future__ import annotations

import json

# Limit for values from a caller, such as the request id.
MAX_VALUE_CHARS = 300


def describe(event: str, **fields: str) -> str:
    """The log line; values with other than plain characters are JSON strings, and long values are cut."""
    return " ".join([event, *(f"{key}={_value(value)}" for key, value in fields.items())])


def _value(value: str) -> str:
    if len(value) > MAX_VALUE_CHARS:
        value = f"{value[:MAX_VALUE_CHARS]}..."
    is_plain = value.isascii() and all(char.isalnum() or char in "-_.:/," for char in value)
    return value if value and is_plain else json.dumps(value)
