"""rollout.yaml: Argo Rollouts' canary."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES
from tests.chart.rendering import render


def test_rollout_takes_the_place_of_the_deployment() -> None:
    rendered = render(TOGGLES["rollout"])
    assert rendered.one("Rollout")["apiVersion"] == "argoproj.io/v1alpha1"
    assert not rendered.all("Deployment")


def test_steps_are_those_of_the_values() -> None:
    canary = render(TOGGLES["rollout"]).one("Rollout")["spec"]["strategy"]["canary"]
    assert canary["steps"][0] == {"setWeight": 10}
    assert "trafficRouting" not in canary
    assert "analysis" not in canary


def test_weights_move_between_two_services_when_routes_carry_them() -> None:
    rendered = render(TOGGLES["rollout-routes"])
    canary = rendered.one("Rollout")["spec"]["strategy"]["canary"]
    services = [service["metadata"]["name"] for service in rendered.all("Service")]
    assert {canary["stableService"], canary["canaryService"]} <= set(services)
    plugin = canary["trafficRouting"]["plugins"]["argoproj-labs/gatewayAPI"]
    assert plugin["httpRoutes"] == [{"name": rendered.one("HTTPRoute")["metadata"]["name"]}]
    assert plugin["grpcRoutes"] == [{"name": rendered.one("GRPCRoute")["metadata"]["name"]}]


def test_analysis_is_the_template_of_the_chart() -> None:
    rendered = render(TOGGLES["rollout-analysis"])
    analysis = rendered.one("Rollout")["spec"]["strategy"]["canary"]["analysis"]
    assert analysis["templates"] == [{"templateName": rendered.one("AnalysisTemplate")["metadata"]["name"]}]
    asked = {argument["name"] for argument in rendered.one("AnalysisTemplate")["spec"]["args"]}
    assert {argument["name"] for argument in analysis["args"]} == asked


def test_pods_spread_by_the_hash_that_argo_gives_them() -> None:
    for constraint in render(TOGGLES["rollout"]).pod()["spec"]["topologySpreadConstraints"]:
        assert constraint["matchLabelKeys"] == ["rollouts-pod-template-hash"]
