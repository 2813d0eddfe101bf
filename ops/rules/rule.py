"""One rule of Prometheus, a group of them, and the file they are written to."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

HEADER = "# Made by `python -m ops render` from ops/slo.yaml: change that, or ops/rules/*.py, and render again.\n"


@dataclass(frozen=True)
class Recording:
    record: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Alert:
    """Attributes:
    hold: how long `expr` must hold before it fires, as PromQL writes it.
    summary: one line, what is wrong; `description`: the figures, and what is and is not measured.
    """

    name: str
    expr: str
    hold: str
    severity: Literal["page", "ticket"]
    summary: str
    description: str
    labels: dict[str, str] = field(default_factory=dict)


Rule = Recording | Alert


@dataclass(frozen=True)
class Group:
    name: str
    interval: str
    rules: list[Rule]


def write_groups(groups: list[Group], runbooks: str) -> str:
    """The rule file; here every alert gets its `runbook_url`."""
    written = []
    for group in groups:
        rules = [_as_mapping(rule, runbooks) for rule in group.rules]
        written.append({"name": group.name, "interval": group.interval, "rules": rules})
    return HEADER + dump({"groups": written})


def runbook_url(runbooks: str, alert: str) -> str:
    return f"{runbooks}/{alert}.md"


def tidy(text: str) -> str:
    """A triple-quoted expression without its margin."""
    return textwrap.dedent(text).strip()


def _as_mapping(rule: Rule, runbooks: str) -> dict[str, Any]:
    expr = tidy(rule.expr)
    if isinstance(rule, Recording):
        return {"record": rule.record, "expr": expr, **({"labels": rule.labels} if rule.labels else {})}
    return {
        "alert": rule.name,
        "expr": expr,
        "for": rule.hold,
        "labels": {"severity": rule.severity, **rule.labels},
        "annotations": {
            "summary": rule.summary,
            "description": " ".join(rule.description.split()),
            "runbook_url": runbook_url(runbooks, rule.name),
        },
    }


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _write_text)


def dump(content: dict[str, Any]) -> str:
    """YAML as a person would write it: keys in order, expressions of several lines as blocks."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
