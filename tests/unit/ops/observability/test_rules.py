"""What the generator makes for other servers, profiles and time scales than the committed ones."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.errors import OpsError, WrongUsage
from ops.observability.render import KUBERNETES_RULES, OBJECTIVE_RULES, SERVER_RULES, read_deployment, render_rules
from ops.observability.slo.deployment import format_span, read_steps


def rules_of(release: str | None = None, profile: str | None = None) -> list[dict[str, Any]]:
    rendered = render_rules(read_deployment(release=release, profile=profile))
    groups = [group for file in (OBJECTIVE_RULES, SERVER_RULES) for group in yaml.safe_load(rendered[file])["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def names_of(rules: list[dict[str, Any]]) -> set[str]:
    return {rule["alert"] for rule in rules if "alert" in rule}


def test_latency_comes_from_tritons_histogram_when_the_server_has_it() -> None:
    rules = rules_of(release="26.04", profile="")
    expressions = "".join(rule["expr"] for rule in rules)
    assert (
        'nv_inference_first_response_histogram_ms_bucket{job="triptych", model="recognizer", le="100"}' in expressions
    )
    assert "triptych_recognition_duration_seconds" not in expressions
    assert "TriptychLatencyBudgetBurn" in names_of(rules)


@pytest.mark.parametrize("profile", ["cpu", "", "cpu-native", "gpu"])
def test_latency_comes_from_the_models_own_histogram_on_an_older_server_in_every_profile(profile: str) -> None:
    rules = rules_of(release="24.10", profile=profile)
    expressions = "".join(rule["expr"] for rule in rules)
    of_shoppers = (
        'triptych_recognition_duration_seconds_bucket{job="triptych", model="recognizer", source="shopper", le="'
    )
    assert of_shoppers in expressions
    assert "nv_inference_first_response" not in expressions
    judged = [rule["labels"] for rule in rules if rule.get("labels", {}).get("objective") == "latency"]
    assert {labels["model"] for labels in judged} == {"recognizer", "searcher"}


def test_nothing_is_rendered_for_a_model_without_objectives() -> None:
    deployment = read_deployment()
    models = {"recognizer": deployment.objectives.models["recognizer"]}
    without = replace(deployment, objectives=deployment.objectives.model_copy(update={"models": models}))
    assert "searcher" in "".join(render_rules(deployment).values())
    assert "searcher" not in "".join(render_rules(without).values())


def test_searches_are_judged_in_both_forms() -> None:
    for profile in ("cpu", ""):
        rules = [rule for rule in rules_of(profile=profile) if rule.get("record") == "triptych:sli_failed:rate5m"]
        objectives = [rule["labels"]["objective"] for rule in rules if rule["labels"]["model"] == "searcher"]
        assert objectives == ["availability", "latency"]


def test_time_scale_shortens_every_window_and_wait() -> None:
    text = "".join(render_rules(read_deployment(time_scale=1 / 60)).values())
    assert "triptych:sli_failed:ratio_rate1h12m" in text  # 3 days
    assert not re.search(r"\[\d+d|\[5m\]|for: 1[05]m", text)
    assert set(re.findall(r"for: (\S+)", text)) <= {"0s", "1s", "2s", "5s", "10s", "15s", "30s", "1m"}


@pytest.mark.parametrize(
    ("seconds", "text"), [(300, "5m"), (90, "1m30s"), (0.5, "500ms"), (259200, "3d"), (0, "0s"), (43200, "12h")]
)
def test_span_is_written_as_prometheus_reads_it(seconds: float, text: str) -> None:
    assert format_span(seconds) == text


def test_release_that_is_none_is_wrong_usage() -> None:
    with pytest.raises(WrongUsage, match=r"--release 2\.51 is not a release"):
        read_deployment(release="2.51")


def test_steps_are_the_ensembles(tmp_path: Path) -> None:
    assert read_deployment().steps == ("preprocess", "embedder", "classifier")
    (tmp_path / "models/recognizer").mkdir(parents=True)
    (tmp_path / "models/recognizer/config.pbtxt").write_text('backend: "python"')
    with pytest.raises(OpsError, match="not an ensemble"):
        read_steps(tmp_path)


def test_cluster_rules_are_apart() -> None:
    """What Prometheus outside a cluster loads has no metric of a cluster's."""
    rendered = render_rules(read_deployment())
    assert "kube_" in rendered[KUBERNETES_RULES]
    assert "kube_" not in rendered[OBJECTIVE_RULES] + rendered[SERVER_RULES]
