"""Every alert is silent, then fires, with its labels and annotations: promtool runs tests/rules/alerts/*.yaml."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.observability.render import read_deployment, render_rules
from ops.settings import ROOT

CASES = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))
RULES = sorted((ROOT / "ops/observability/rules").glob("*.yaml"))
ALERTMANAGER = ROOT / "ops/observability/alertmanager/alertmanager.yaml"


def run(*command: str) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def alert_tests() -> list[tuple[str, list[dict[str, Any]]]]:
    """(alert, what is expected to fire) of every moment looked at."""
    tests = [test for file in CASES for test in yaml.safe_load(file.read_text())["tests"]]
    return [(at["alertname"], at["exp_alerts"]) for test in tests for at in test.get("alert_rule_test", [])]


def alerts() -> list[dict[str, Any]]:
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


@pytest.mark.parametrize("file", CASES, ids=lambda file: file.stem)
def test_alerts_are_silent_then_fire(promtool: str, file: Path) -> None:
    run(promtool, "test", "rules", str(file))


def test_every_alert_is_seen_silent_and_firing_at_each_of_its_severities() -> None:
    silent = {alert for alert, expected in alert_tests() if not expected}
    fired = {
        (alert, one["exp_labels"]["severity"], one["exp_labels"].get("window"))
        for alert, expected in alert_tests()
        for one in expected
    }
    for rule in alerts():
        assert rule["alert"] in silent
        assert (rule["alert"], rule["labels"]["severity"], rule["labels"].get("window")) in fired


def test_firing_is_asserted_with_every_annotation() -> None:
    for alert, expected in alert_tests():
        for one in expected:
            assert set(one["exp_annotations"]) == {"summary", "description", "runbook"}
            assert one["exp_annotations"]["runbook"] == f"docs/runbooks/{alert}.md"


@pytest.mark.parametrize("release", ["24.10", "26.04"])
@pytest.mark.parametrize("profile", ["cpu", ""])
@pytest.mark.parametrize("time_scale", [1.0, 1 / 60])
def test_rules_for_every_server_pass_promtool(
    promtool: str, tmp_path: Path, release: str, profile: str, time_scale: float
) -> None:
    deployment = read_deployment(release=release, profile=profile, time_scale=time_scale)
    for path, text in render_rules(deployment).items():
        (tmp_path / path.name).write_text(text)
    assert "SUCCESS" in run(promtool, "check", "rules", *map(str, sorted(tmp_path.iterdir())))


def test_alertmanager_example_is_one(amtool: str) -> None:
    assert "SUCCESS" in run(amtool, "check-config", str(ALERTMANAGER))


@pytest.mark.parametrize(("severity", "receiver"), [("page", "pager"), ("ticket", "tickets")])
def test_pages_and_tickets_go_to_different_people(amtool: str, severity: str, receiver: str) -> None:
    routed = run(amtool, "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"severity={severity}")
    assert routed.splitlines()[0] == receiver
