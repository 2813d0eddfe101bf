"""`--filter`: conditions on the command line -> a `Filter`. Performs no I/O."""

from __future__ import annotations

import argparse
import json
import re
from typing import Any

from triptych.cli.exit_codes import WrongUsage

_OPERATORS = {">=": "gte", "<=": "lte", "!=": "ne", ">": "gt", "<": "lt", "=": "eq"}
_CONDITION = re.compile(r"([^<>=!]+)([<>=!]+)(.*)", re.DOTALL)


def add_filter_option(parser: argparse.ArgumentParser) -> None:
    """Adds the option, which may be passed several times; all conditions must hold."""
    parser.add_argument(
        "--filter",
        action="append",
        metavar="CONDITION",
        help="category=Shoes, category=Shoes,Boots (any of them), colour!=red, 'price<50', 'size=\"36\"' (as "
        "text), or a JSON object; repeat the option for further conditions; all must hold",
    )


def read_filter(conditions: list[str] | None) -> dict[str, Any] | None:
    """The filter for `Client.search`; raises `WrongUsage` for an invalid condition."""
    found: dict[str, Any] = {}
    for text in conditions or ():
        if text.lstrip().startswith("{"):
            found |= _object(text)
            continue
        match = _CONDITION.fullmatch(text)
        if match is None:
            raise WrongUsage(f"--filter is {text!r}; expected a condition: category=Shoes, 'price<50', colour!=red.")
        if match[2] not in _OPERATORS:
            raise WrongUsage(
                f"--filter is {text!r} with the operator {match[2]!r}; expected one of {', '.join(_OPERATORS)}. "
                f"""A value that begins with a sign is quoted: '{match[1].strip()}="{match[2][1:]}{match[3]}"'."""
            )
        name, operator, value = match[1].strip(), _OPERATORS[match[2]], match[3].strip()
        if operator == "eq":
            choices = [_value(each) for each in value.split(",")]
            found[name] = choices if len(choices) > 1 else choices[0]
        else:
            others = found.get(name)
            found[name] = {**(others if isinstance(others, dict) else {}), operator: _value(value)}
    return found or None


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise WrongUsage(f"--filter is {text!r}, no JSON object ({error}).") from error
    if not isinstance(value, dict):
        raise WrongUsage(f'--filter is {text!r}; expected a JSON object: {{"category": "Shoes"}}.')
    return value


def _value(text: str) -> Any:
    """A value as the import reads it: text in the form of a number is a number; "quotes" keep it a text."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1]
    if text in ("true", "false"):
        return text == "true"
    if re.fullmatch(r"-?(0|[1-9]\d{0,17})", text):
        return int(text)
    return float(text) if re.fullmatch(r"-?(0|[1-9]\d*)\.\d+", text) else text
