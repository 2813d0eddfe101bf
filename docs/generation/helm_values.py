"""The page of the chart's values: key, default and the comment above the key in `values.yaml`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import yaml
from yaml.constructor import SafeConstructor

from docs.generation.pages import ROOT, GenerationError, Page, as_text, table

VALUES = ROOT / "helm/triptych/values.yaml"
_INTRODUCTION = """# Helm values

The chart is `helm/triptych`. Its `values.schema.json` refuses a key that this page does not list.
"""


@dataclass(frozen=True)
class Value:
    """One key of `values.yaml`.

    Attributes:
        path: as `triton.http.threads`.
        default: as JSON; None for a group of keys.
        comment: the line above the key.
    """

    path: str
    default: str | None
    comment: str


def render() -> list[Page]:
    """The page."""
    return [Page("reference/helm-values.md", render_values(read_values(VALUES.read_text(encoding="utf-8"))))]


def render_values(values: list[Value]) -> str:
    """A section for each top-level key, so that no table is longer than a reader can scan."""
    parts = [_INTRODUCTION]
    for section in dict.fromkeys(value.path.partition(".")[0] for value in values):
        own = [value for value in values if value.path.partition(".")[0] == section]
        rows = [
            (f"`{value.path}`", "" if value.default is None else f"`{value.default}`", as_text(value.comment))
            for value in own
        ]
        parts.append(f"## {section}\n\n{table(('key', 'default', 'meaning'), rows)}")
    return "\n".join(parts)


def read_values(text: str) -> list[Value]:
    """Returns every key of `values.yaml` in order; lists and maps on one line are values, not groups.

    Raises:
        GenerationError: a key has no comment on the line above it.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(root, yaml.MappingNode):
        raise GenerationError("values.yaml is not a mapping. Restore its top-level keys.")
    return list(_walk(root, "", text.splitlines()))


def _walk(node: yaml.MappingNode, parent: str, lines: list[str]) -> Iterator[Value]:
    for key, value in node.value:
        path = f"{parent}{key.value}"
        comment = lines[key.start_mark.line - 1].strip() if key.start_mark.line else ""
        if not comment.startswith("# "):
            raise GenerationError(
                f"values.yaml, line {key.start_mark.line + 1}: {path} has no comment. Describe the key on the line "
                "above it."
            )
        is_group = isinstance(value, yaml.MappingNode) and not value.flow_style
        yield Value(path, None if is_group else _default(value), comment.removeprefix("# "))
        if is_group:
            yield from _walk(value, f"{path}.", lines)


def _default(node: yaml.Node) -> str:
    return json.dumps(SafeConstructor().construct_document(node))
