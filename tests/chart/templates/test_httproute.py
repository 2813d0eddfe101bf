"""httproute.yaml: HTTP through a Gateway."""

from __future__ import annotations

from tests.chart.matrix import GATEWAY, TOGGLES
from tests.chart.rendering import render


def test_route_is_absent_by_default() -> None:
    assert not render().all("HTTPRoute")


def test_route_leads_inference_to_the_service() -> None:
    spec = render(TOGGLES["http-route"]).one("HTTPRoute")["spec"]
    (rule,) = spec["rules"]
    assert spec["parentRefs"] == GATEWAY
    assert spec["hostnames"] == ["photos.example"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/v2"}}]
    assert rule["timeouts"] == {"request": "30s"}
    assert rule["backendRefs"] == [{"name": "shop-triptych", "port": 8000}]


def test_route_sends_a_share_to_the_second_release() -> None:
    (rule,) = render(TOGGLES["route-canary"]).one("HTTPRoute")["spec"]["rules"]
    assert rule["backendRefs"] == [
        {"name": "shop-triptych", "port": 8000, "weight": 90},
        {"name": "shop-next-triptych", "port": 8000, "weight": 10},
    ]


def test_route_starts_with_everything_on_the_stable_service_when_argo_moves_the_weights() -> None:
    (rule,) = render(TOGGLES["rollout-routes"]).one("HTTPRoute")["spec"]["rules"]
    assert [(backend["name"], backend["weight"]) for backend in rule["backendRefs"]] == [
        ("shop-triptych", 100),
        ("shop-triptych-canary", 0),
    ]
