"""servicemonitor.yaml: Prometheus scrapes the pods of the headless Service."""

from __future__ import annotations

from tests.chart.invariants import selects
from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import render


def test_monitor_is_absent_by_default() -> None:
    assert not render().all("ServiceMonitor")


def test_monitor_selects_one_service_so_that_no_pod_counts_twice() -> None:
    for toggle in ("defaults", "rollout-routes"):
        rendered = render(merged(TOGGLES["service-monitor"], TOGGLES[toggle]))
        selector = rendered.one("ServiceMonitor")["spec"]["selector"]
        found = [thing for thing in rendered.all("Service") if selects(selector, thing["metadata"]["labels"])]
        assert [thing["spec"].get("clusterIP") for thing in found] == ["None"]


def test_series_are_those_of_the_pod_monitor() -> None:
    by_service = render(TOGGLES["service-monitor"]).one("ServiceMonitor")["spec"]
    by_pod = render(TOGGLES["pod-monitor"]).one("PodMonitor")["spec"]
    assert by_service["podTargetLabels"] == by_pod["podTargetLabels"]
    assert by_service["endpoints"][0]["relabelings"] == by_pod["podMetricsEndpoints"][0]["relabelings"]
