"""A Prometheus rule, a group of rules, and the YAML file that holds the groups."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

HEADER = (
    "# Made by `triptych render` from ops/slo.yaml and ops/observability/rules/*.py: change those and render again.\n"
)
RUNBOOKS = "docs/runbooks"


@dataclass(frozen=True)
class Recording:
    record: str
    expr: str
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Alert:
    """Attributes:
    hold: how long `expr` must hold before the alert fires, in PromQL notation.
    summary: one line that says what is wrong.
    description: the figures, and what the alert does and does not measure.
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


def write_groups(groups: list[Group], runbooks: str | None) -> str:
    """Returns the rule file; every alert gets its runbook as an annotation."""
    written = []
    for group in groups:
        rules = [_as_mapping(rule, runbooks) for rule in group.rules]
        written.append({"name": group.name, "interval": group.interval, "rules": rules})
    return HEADER + dump({"groups": written})


def runbook_annotation(runbooks: str | None, alert: str) -> dict[str, str]:
    """Returns `runbook_url`, the page on the documentation site where that is published, else `runbook`, the file."""
    if runbooks is None:
        return {"runbook": f"{RUNBOOKS}/{alert}.md"}
    return {"runbook_url": f"{runbooks}/{alert}/"}


def tidy(text: str) -> str:
    """Returns a triple-quoted expression without its indentation."""
    return textwrap.dedent(text).strip()


def _as_mapping(rule: Rule, runbooks: str | None) -> dict[str, Any]:
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
            **runbook_annotation(runbooks, rule.name),
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
    """Returns YAML with the keys in their order and multi-line expressions as blocks."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
