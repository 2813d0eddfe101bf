"""analysistemplate.yaml: the analysis that aborts a canary."""

from __future__ import annotations

import pytest

from tests.chart.matrix import PROMETHEUS, TOGGLES, merged
from tests.chart.rendering import NAMESPACE, RELEASE, render
from tests.chart.schemas import Object


@pytest.fixture
def metrics() -> dict[str, Object]:
    template = render(TOGGLES["rollout-analysis"]).one("AnalysisTemplate")
    return {metric["name"]: metric for metric in template["spec"]["metrics"]}


def test_analysis_is_absent_by_default() -> None:
    assert not render(TOGGLES["rollout"]).all("AnalysisTemplate")


def test_queries_select_only_the_new_pods_of_this_release(metrics: dict[str, Object]) -> None:
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


def test_measurement_is_inconclusive_when_there_is_no_traffic(metrics: dict[str, Object]) -> None:
    for metric in metrics.values():
        assert metric["successCondition"].startswith("len(result) > 0")
        assert metric["failureCondition"].startswith("len(result) > 0")
