"""scaledobject.yaml: KEDA queries Prometheus."""

from __future__ import annotations

from tests.chart.matrix import PROMETHEUS, TOGGLES, merged
from tests.chart.rendering import NAMESPACE, RELEASE, Values, render
from tests.chart.schemas import Object


def spec(*values: Values) -> Object:
    return render(merged(*values)).one("ScaledObject")["spec"]  # type: ignore[no-any-return]


def test_keda_is_absent_by_default() -> None:
    assert not render().all("ScaledObject")


def test_in_flight_work_is_that_of_the_public_model_in_this_release() -> None:
    trigger = spec(TOGGLES["keda"])["triggers"][0]
    assert trigger["metricType"] == "AverageValue"  # per pod
    assert trigger["metadata"] == {
        "serverAddress": PROMETHEUS,
        "query": f'sum(rate(nv_inference_request_duration_us{{namespace="{NAMESPACE}", '
        f'app_kubernetes_io_instance="{RELEASE}", model="recognizer"}}[1m])) / 1e6',
        "threshold": "4",
    }


def test_queue_wait_counts_each_request_once_and_no_idle_model() -> None:
    trigger = spec(TOGGLES["keda"])["triggers"][1]
    assert trigger["metricType"] == "Value"
    waited, _, requests = trigger["metadata"]["query"].partition(" / ")
    assert "nv_inference_queue_duration_us" in waited
    assert "model=" not in waited  # the delay of all queues
    assert 'model="recognizer"' in requests  # per request of the public model


def test_triggers_authenticate_when_a_reference_is_set() -> None:
    for trigger in spec(TOGGLES["keda"])["triggers"]:
        assert trigger["authenticationRef"] == {"name": "prom"}
    for trigger in spec(TOGGLES["keda-to-zero"])["triggers"]:
        assert "authenticationRef" not in trigger


def test_extra_trigger_scales_up_from_0_pods() -> None:
    scaled = spec(TOGGLES["keda-to-zero"])
    assert scaled["minReplicaCount"] == 0
    assert scaled["triggers"][-1]["type"] == "cron"


def test_fallback_is_left_out_when_it_is_zero() -> None:
    assert spec(TOGGLES["keda"])["fallback"] == {"failureThreshold": 4, "replicas": 2}
    assert "fallback" not in spec(TOGGLES["keda"], {"autoscaling": {"keda": {"fallbackReplicas": 0}}})
