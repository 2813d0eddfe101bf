"""horizontalpodautoscaler.yaml: scaling on requests in flight, queue delay and CPU."""

from __future__ import annotations

import pytest

from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import RELEASE, Values, render
from tests.chart.schemas import Object


def spec(*values: Values) -> Object:
    return render(merged(*values)).one("HorizontalPodAutoscaler")["spec"]  # type: ignore[no-any-return]


def test_autoscaler_is_absent_by_default() -> None:
    assert not render().all("HorizontalPodAutoscaler")


def test_autoscaler_uses_requests_in_flight_queue_wait_and_cpu() -> None:
    in_flight, queue_wait, cpu = spec(TOGGLES["hpa"])["metrics"]
    assert in_flight["pods"]["metric"]["name"] == "triptych_requests_in_flight"
    assert in_flight["pods"]["target"] == {"type": "AverageValue", "averageValue": "4"}
    assert queue_wait["pods"]["target"] == {"type": "AverageValue", "averageValue": "20"}
    assert cpu["containerResource"] == {
        "name": "cpu",
        "container": render().server()["name"],
        "target": {"type": "Utilization", "averageUtilization": 85},
    }


def test_external_metrics_are_those_of_this_release() -> None:
    for metric in spec(TOGGLES["hpa-external"])["metrics"][:2]:
        assert metric["type"] == "External"
        assert metric["external"]["metric"]["selector"]["matchLabels"] == {"app_kubernetes_io_instance": RELEASE}


def test_mean_wait_is_not_divided_by_the_number_of_pods() -> None:
    wait = spec(TOGGLES["hpa-external"])["metrics"][1]["external"]["target"]
    assert wait == {"type": "Value", "value": "20"}


@pytest.mark.parametrize("off", ["inFlight", "queueWait"])
def test_metric_is_left_out_when_it_is_off(off: str) -> None:
    assert len(spec(TOGGLES["hpa"], {"autoscaling": {off: {"enabled": False}}})["metrics"]) == 2


def test_autoscaler_goes_up_at_once_and_down_slowly() -> None:
    behavior = spec(TOGGLES["hpa"])["behavior"]
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_bounds_are_those_of_the_values() -> None:
    bounds = spec(TOGGLES["hpa"], {"autoscaling": {"minReplicas": 3, "maxReplicas": 21}})
    assert (bounds["minReplicas"], bounds["maxReplicas"]) == (3, 21)
