"""The table of values in the chart's README, out of `values.yaml`: each key, its default, its comment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import yaml
from yaml.constructor import SafeConstructor

from ops.errors import OpsError

BEGIN = "<!-- values: made by `make generate` from values.yaml -->"
END = "<!-- end of values -->"
_HEAD = ("| key | default | what it does |", "|---|---|---|")


@dataclass(frozen=True)
class Value:
    """One key.

    Attributes:
        path: `triton.http.threads`.
        default: as JSON; None for a group of keys.
        comment: the line above the key.
    """

    path: str
    default: str | None
    comment: str


def read_values(text: str) -> list[Value]:
    """Every key of `values.yaml` in its order; lists and maps on one line are values, not groups.

    Raises:
        OpsError: a key without a comment on the line above.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise OpsError("values.yaml is not a map of keys.")
    return list(_walk(root, "", text.splitlines()))


def _walk(node: yaml.MappingNode, parent: str, lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{parent}{key.value}"
        comment = lines[key.start_mark.line - 1].strip() if key.start_mark.line else ""
        if not comment.startswith("# "):
            raise OpsError(
                f"values.yaml, line {key.start_mark.line + 1}: {path} has no comment. Write what it does in the line "
                "above it."
            )
        is_group = isinstance(value, yaml.MappingNode) and not value.flow_style
        yield Value(path, None if is_group else _default(value), comment.removeprefix("# "))
        if is_group:
            yield from _walk(value, f"{path}.", lines)


def _default(node: yaml.Node) -> str:
    return json.dumps(SafeConstructor().construct_document(node))


def render_table(values: list[Value]) -> str:
    return "\n".join((*_HEAD, *(_row(value) for value in values)))


def _row(value: Value) -> str:
    comment = value.comment.replace("|", "\\|")
    if value.default is None:
        return f"| **`{value.path}`** | | {comment} |"
    default = value.default.replace("|", "\\|")
    return f"| `{value.path}` | `{default}` | {comment} |"


def replace_table(readme: str, table: str) -> str:
    """The README with another table between its marks.

    Raises:
        OpsError: the marks are not there.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise OpsError(f"The chart's README has no place for its table: expected the lines {BEGIN} and {END}.")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"
