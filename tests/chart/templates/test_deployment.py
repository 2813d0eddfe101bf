"""deployment.yaml: what runs the server by default."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import render


def test_deployment_is_the_workload_by_default() -> None:
    deployment = render().one("Deployment")
    assert deployment["apiVersion"] == "apps/v1"
    assert deployment["spec"]["replicas"] == 2
    assert not render(TOGGLES["statefulset"]).all("Deployment")


def test_rollout_adds_a_pod_before_it_takes_one_away() -> None:
    strategy = render().one("Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_replicas_are_left_to_the_autoscaler_when_there_is_one() -> None:
    assert "replicas" not in render(TOGGLES["hpa"]).one("Deployment")["spec"]
    assert "replicas" not in render(TOGGLES["keda"]).one("Deployment")["spec"]


def test_settings_of_the_workload_reach_the_deployment() -> None:
    values = {"workload": {"replicas": 7, "revisionHistoryLimit": 3, "minReadySeconds": 11, "maxSurge": "25%"}}
    spec = render(merged(values, {"workload": {"progressDeadlineSeconds": 777}})).one("Deployment")["spec"]
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["minReadySeconds"]) == (7, 3, 11)
    assert spec["progressDeadlineSeconds"] == 777
    assert spec["strategy"]["rollingUpdate"]["maxSurge"] == "25%"


def test_selector_is_the_same_whatever_is_labelled() -> None:
    assert (
        render().one("Deployment")["spec"]["selector"]
        == render(TOGGLES["labels"]).one("Deployment")["spec"]["selector"]
    )
