"""service.yaml: the Service for clients."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES
from tests.chart.rendering import render


def test_service_has_http_and_grpc_and_keeps_the_metrics_to_prometheus() -> None:
    ports = {port["name"]: port for port in render().one("Service", "triptych")["spec"]["ports"]}
    assert {name: port["port"] for name, port in ports.items()} == {"http": 8000, "grpc": 8001}
    assert ports["grpc"]["appProtocol"] == "kubernetes.io/h2c"


def test_grpc_port_is_https_when_it_has_tls() -> None:
    ports = render(TOGGLES["tls"]).one("Service", "triptych")["spec"]["ports"]
    assert [port["appProtocol"] for port in ports if port["name"] == "grpc"] == ["https"]


def test_ports_are_those_of_the_values() -> None:
    service = render(TOGGLES["node-port"]).one("Service", "triptych")["spec"]
    assert service["type"] == "NodePort"
    assert [port["port"] for port in service["ports"]] == [80, 9000]


def test_load_balancer_admits_the_source_ranges_of_the_values() -> None:
    service = render(TOGGLES["load-balancer"]).one("Service", "triptych")
    assert service["spec"]["loadBalancerSourceRanges"] == ["10.0.0.0/8"]
    assert service["spec"]["externalTrafficPolicy"] == "Local"
    assert service["metadata"]["annotations"] == {"service.example/internal": "true"}


def test_cluster_ip_has_no_field_of_a_load_balancer() -> None:
    assert set(render().one("Service", "triptych")["spec"]) == {"type", "selector", "ports"}
