"""headless-service.yaml: gRPC clients resolve every pod."""

from __future__ import annotations

from tests.chart.rendering import render


def test_headless_service_resolves_to_the_pods() -> None:
    spec = render().one("Service", "-headless")["spec"]
    assert spec["clusterIP"] == "None"
    # The ports of the container, because a headless Service maps no ports.
    assert [port["port"] for port in spec["ports"]] == [8000, 8001, 8002]


def test_headless_service_lists_pods_only_when_they_are_ready() -> None:
    assert "publishNotReadyAddresses" not in render().one("Service", "-headless")["spec"]
