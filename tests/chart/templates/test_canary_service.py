"""canary-service.yaml: the Service of the new pods while Argo Rollouts changes the weights."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import render


def test_canary_service_is_there_only_when_routes_carry_the_weights() -> None:
    assert not [name for _, name in render(TOGGLES["rollout"]).names() if name.endswith("-canary")]
    assert render(TOGGLES["rollout-routes"]).one("Service", "-canary")


def test_canary_service_is_inside_the_cluster_even_when_the_other_is_not() -> None:
    rendered = render(merged(TOGGLES["rollout-routes"], TOGGLES["load-balancer"]))
    assert rendered.one("Service", "-canary")["spec"]["type"] == "ClusterIP"
    assert rendered.one("Service", "triptych")["spec"]["type"] == "LoadBalancer"


def test_canary_service_has_the_ports_of_the_stable_one() -> None:
    rendered = render(merged(TOGGLES["rollout-routes"], {"service": {"httpPort": 81}}))
    assert rendered.one("Service", "-canary")["spec"]["ports"] == rendered.one("Service", "triptych")["spec"]["ports"]
