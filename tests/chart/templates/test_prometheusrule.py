"""prometheusrule.yaml: the rules of `ops/`, unchanged but for where their runbooks are."""

from __future__ import annotations

import pytest
import yaml

from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import CHART, Values, render
from tests.chart.schemas import Object

FILES = [yaml.safe_load(path.read_text())["groups"] for path in sorted((CHART / "files/rules").glob("*.yaml"))]


def groups(*values: Values) -> list[Object]:
    return render(merged(TOGGLES["rules"], *values)).one("PrometheusRule")["spec"]["groups"]  # type: ignore[no-any-return]


def test_rules_are_absent_by_default() -> None:
    assert not render().all("PrometheusRule")


@pytest.mark.parametrize("helm", ["helm3", "helm4"])
def test_rules_are_those_of_the_files(helm: str) -> None:
    rendered = render(TOGGLES["rules"], helm=helm).one("PrometheusRule")
    assert rendered["spec"]["groups"] == [group for file in FILES for group in file]


def test_runbooks_are_where_the_values_say() -> None:
    at = "https://wiki.example/runbooks/"
    alerts = [
        rule
        for group in groups({"monitoring": {"rules": {"runbooks": at}}})
        for rule in group["rules"]
        if "alert" in rule
    ]
    before = [rule for group in groups() for rule in group["rules"] if "alert" in rule]
    assert alerts
    for rule, old in zip(alerts, before, strict=True):
        address = rule["annotations"]["runbook_url"]
        assert address == at + old["annotations"]["runbook"].rpartition("/")[2].removesuffix(".md") + "/"
        assert "runbook" not in rule["annotations"]


def test_group_names_differ() -> None:
    names = [group["name"] for group in groups()]
    assert len(set(names)) == len(names) > 0
