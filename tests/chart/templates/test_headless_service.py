"""headless-service.yaml: gRPC callers see every pod."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES
from tests.chart.rendering import render


def test_headless_service_answers_with_the_pods_themselves() -> None:
    spec = render().one("Service", "-headless")["spec"]
    assert spec["clusterIP"] == "None"
    # The container's own ports: nothing stands between a caller and the pod that could map them.
    assert [port["port"] for port in spec["ports"]] == [8000, 8001, 8002]


def test_headless_service_lists_pods_only_when_they_are_ready() -> None:
    assert "publishNotReadyAddresses" not in render().one("Service", "-headless")["spec"]


def test_headless_service_is_absent_when_it_is_off() -> None:
    assert len(render(TOGGLES["no-headless"]).all("Service")) == 1
