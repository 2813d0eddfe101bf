"""statefulset.yaml: pods with names of their own."""

from __future__ import annotations

from copy import deepcopy

from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import render


def test_statefulset_is_governed_by_the_headless_service() -> None:
    rendered = render(TOGGLES["statefulset"])
    governing = rendered.one("Service", "-headless")
    assert rendered.one("StatefulSet")["spec"]["serviceName"] == governing["metadata"]["name"]


def test_headless_service_is_there_even_when_it_is_switched_off() -> None:
    rendered = render(merged(TOGGLES["statefulset"], TOGGLES["no-headless"]))
    assert rendered.one("Service", "-headless")


def test_pods_start_together() -> None:
    assert render(TOGGLES["statefulset"]).one("StatefulSet")["spec"]["podManagementPolicy"] == "Parallel"


def test_pod_is_that_of_the_deployment_but_for_the_hash_it_spreads_by() -> None:
    stateful, deployed = render(TOGGLES["statefulset"]).pod(), deepcopy(render().pod())
    for constraint in deployed["spec"]["topologySpreadConstraints"]:
        assert constraint.pop("matchLabelKeys") == ["pod-template-hash"]
    assert stateful == deployed
