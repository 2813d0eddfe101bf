"""Formats log lines, one event each: `event key=value key="two words"`. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable

# Limit for values from a caller, such as the request id.
MAX_VALUE_CHARS = 300


def describe(event: str, **fields: str) -> str:
    """The log line; values with other than plain characters are JSON strings, and long values are cut."""
    return " ".join([event, *(f"{key}={_value(value)}" for key, value in fields.items())])


def write(log: Callable[[str], None], line: str) -> None:
    """Writes a line with one of the functions of Triton's `Logger`.

    They end the process when the line, or the file name of the frame that calls them, has unpaired surrogates: file
    names with other than ASCII letters have them (see `placed_files.native_name`).
    """
    log(as_unicode(line))


write.__code__ = write.__code__.replace(co_filename="triptych_models/triton/log_lines.py")


def as_unicode(text: str) -> str:
    """The text without unpaired surrogates: those of a file name become its letters."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _value(value: str) -> str:
    if len(value) > MAX_VALUE_CHARS:
        value = f"{value[:MAX_VALUE_CHARS]}..."
    is_plain = value.isascii() and all(char.isalnum() or char in "-_.:/," for char in value)
    return value if value and is_plain else json.dumps(value)
