"""podmonitor.yaml: Prometheus scrapes every pod."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import NAMESPACE, render


def test_monitor_is_absent_by_default() -> None:
    assert not render().all("PodMonitor")


def test_monitor_reads_the_metrics_of_this_namespace() -> None:
    monitor = render(TOGGLES["pod-monitor"]).one("PodMonitor")
    endpoint, front = monitor["spec"]["podMetricsEndpoints"]
    # Rules select the job of Triton alone, so that a pod counts once.
    assert [front["path"], front["relabelings"][0]["replacement"]] == ["/metrics/front", "triptych-front"]
    assert (endpoint["port"], endpoint["path"], endpoint["interval"]) == ("metrics", "/metrics", "15s")
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [NAMESPACE]}
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_series_carry_the_labels_that_the_queries_ask_for() -> None:
    rendered = render(merged(TOGGLES["pod-monitor"], TOGGLES["rollout-analysis"]))
    kept = rendered.one("PodMonitor")["spec"]["podTargetLabels"]
    # Prometheus replaces `.`, `/` and `-` by `_`.
    names = {label.replace(".", "_").replace("/", "_").replace("-", "_") for label in kept}
    assert {"app_kubernetes_io_instance", "rollouts_pod_template_hash"} <= names


def test_labels_it_keeps_are_on_the_pods() -> None:
    rendered = render(TOGGLES["pod-monitor"])
    assert set(rendered.one("PodMonitor")["spec"]["podTargetLabels"]) <= set(rendered.pod()["metadata"]["labels"])
