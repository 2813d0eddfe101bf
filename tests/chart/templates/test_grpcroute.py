"""grpcroute.yaml: gRPC through a Gateway."""

from __future__ import annotations

from tests.chart.matrix import GATEWAY, TOGGLES
from tests.chart.rendering import render


def test_route_is_absent_by_default() -> None:
    assert not render().all("GRPCRoute")


def test_route_leads_inference_and_nothing_else_to_the_service() -> None:
    spec = render(TOGGLES["grpc-route"]).one("GRPCRoute")["spec"]
    (rule,) = spec["rules"]
    assert spec["parentRefs"] == GATEWAY
    assert rule["matches"] == [{"method": {"type": "Exact", "service": "inference.GRPCInferenceService"}}]
    assert rule["backendRefs"] == [{"name": "shop-triptych", "port": 8001}]


def test_weights_add_up_to_a_hundred() -> None:
    (rule,) = render(TOGGLES["route-canary"]).one("GRPCRoute")["spec"]["rules"]
    assert sum(backend["weight"] for backend in rule["backendRefs"]) == 100
