"""analysistemplate.yaml: what aborts a canary."""

from __future__ import annotations

import pytest

from tests.chart.matrix import PROMETHEUS, TOGGLES, merged
from tests.chart.rendering import NAMESPACE, RELEASE, render
from tests.chart.schemas import Object


@pytest.fixture
def metrics() -> dict[str, Object]:
    template = render(TOGGLES["rollout-analysis"]).one("AnalysisTemplate")
    return {metric["name"]: metric for metric in template["spec"]["metrics"]}


def test_analysis_is_made_only_when_it_is_on() -> None:
    assert not render(TOGGLES["rollout"]).all("AnalysisTemplate")


def test_only_the_new_pods_of_this_release_are_asked_about(metrics: dict[str, Object]) -> None:
    assert set(metrics) == {"error-ratio", "queue-wait"}
    for metric in metrics.values():
        query = metric["provider"]["prometheus"]["query"]
        selectors = query.split("{")[1:]
        assert len(selectors) >= 2
        assert metric["provider"]["prometheus"]["address"] == PROMETHEUS
        assert query.count(f'app_kubernetes_io_instance="{RELEASE}"') == query.count(f'namespace="{NAMESPACE}"')
        assert query.count('rollouts_pod_template_hash="{{args.canary-hash}}"') == query.count("rate(")


def test_thresholds_are_those_of_the_values() -> None:
    changed = {
        "canary": {"rollout": {"analysis": {"maxErrorRatio": 0.25, "maxQueueMilliseconds": 77, "failureLimit": 5}}}
    }
    template = render(merged(TOGGLES["rollout-analysis"], changed)).one("AnalysisTemplate")
    errors, queue = template["spec"]["metrics"]
    assert (errors["successCondition"], errors["failureCondition"]) == (
        "len(result) > 0 && result[0] <= 0.25",
        "len(result) > 0 && result[0] > 0.25",
    )
    assert "result[0] <= 77" in queue["successCondition"]
    assert errors["failureLimit"] == queue["failureLimit"] == 5


def test_silence_is_neither_success_nor_failure(metrics: dict[str, Object]) -> None:
    for metric in metrics.values():
        assert metric["successCondition"].startswith("len(result) > 0")
        assert metric["failureCondition"].startswith("len(result) > 0")
