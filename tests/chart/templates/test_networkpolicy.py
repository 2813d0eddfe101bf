"""networkpolicy.yaml: it denies all connections that it does not list."""

from __future__ import annotations

import pytest

from tests.chart.invariants import pods, selects
from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import Rendered, Values, render
from tests.chart.schemas import Object


def policy(*values: Values) -> Object:
    return render(merged(*values)).one("NetworkPolicy")["spec"]  # type: ignore[no-any-return]


def ports(rule: Object) -> set[int]:
    return {port["port"] for port in rule["ports"]}


def admitted_ports(rendered: Rendered, labels: dict[str, str]) -> set[int]:
    """The ports that a pod of the same namespace reaches."""
    return {
        port
        for rule in rendered.one("NetworkPolicy")["spec"]["ingress"]
        for peer in rule["from"]
        if "podSelector" in peer and "namespaceSelector" not in peer and selects(peer["podSelector"], labels)
        for port in ports(rule)
    }


def test_both_directions_are_closed_by_default() -> None:
    spec = policy()
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in spec
    assert all(rule["from"] and rule["ports"] for rule in spec["ingress"])  # empty means all peers, all ports


def test_caller_is_admitted_by_its_label() -> None:
    assert admitted_ports(render(), {"triptych-caller": "true"}) == {8000, 8001}
    assert admitted_ports(render(), {"app": "other"}) == set()


def test_prometheus_reaches_the_metrics_and_nothing_else() -> None:
    rules = [rule for rule in policy()["ingress"] if "namespaceSelector" in rule["from"][0]]
    assert [ports(rule) for rule in rules] == [{8002}]


def test_callers_reach_only_the_ports_of_the_values() -> None:
    rules = [rule for rule in policy(TOGGLES["network-callers"])["ingress"] if 8001 in ports(rule)]
    callers = [rule for rule in rules if "namespaceSelector" in rule["from"][0]]
    assert [ports(rule) for rule in callers] == [{8001}]


@pytest.mark.parametrize("toggle", ["defaults", "load-test"])
def test_pods_of_the_chart_are_admitted(toggle: str) -> None:
    rendered = render(TOGGLES[toggle])
    callers = [pod for _, pod in pods(rendered) if pod is not rendered.pod()]
    assert callers
    for caller in callers:
        assert {8000, 8001} <= admitted_ports(rendered, caller["metadata"]["labels"])


def test_metrics_are_closed_to_callers_and_test_pods() -> None:
    rendered = render(TOGGLES["load-test"])
    readers = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for _, pod in pods(rendered)
        if 8002 in admitted_ports(rendered, pod["metadata"]["labels"])
    }
    assert readers == {"load-test"}
    assert 8002 not in admitted_ports(rendered, {"triptych-caller": "true"})


def test_bucket_is_reached_over_https_and_dns() -> None:
    (dns, store, identity) = policy(TOGGLES["repository-s3"])["egress"]
    assert (ports(dns), ports(store)) == ({53}, {443})
    assert [peer["ipBlock"]["cidr"] for peer in identity["to"]] == ["169.254.169.254/32", "169.254.170.23/32"]


def test_metadata_service_is_denied_when_a_secret_opens_the_bucket() -> None:
    for toggle in ("repository-s3-compatible", "repository-gcs-key"):
        rules = policy(TOGGLES[toggle])["egress"]
        assert len(rules) == 2
        assert "169.254.169.254" not in str(rules)


def test_names_are_resolved_by_the_peers_of_the_values_only() -> None:
    for toggle in ("repository-s3", "catalogue-weaviate", "tracing", "network-egress"):
        (dns,) = [rule for rule in policy(TOGGLES[toggle])["egress"] if 53 in ports(rule)]
        assert ports(dns) == {53}
        assert all(peer.get("namespaceSelector", {}).get("matchLabels") or peer.get("ipBlock") for peer in dns["to"])
    assert policy(TOGGLES["network-egress"])["egress"][0]["to"] == TOGGLES["network-egress"]["networkPolicy"]["dns"]


def test_store_is_reached_at_its_peers_when_the_values_name_them() -> None:
    (_, store, _) = policy(TOGGLES["network-egress"])["egress"]
    assert store == {
        "to": [{"ipBlock": {"cidr": "199.36.153.8/30"}}],
        "ports": [{"port": 443, "protocol": "TCP"}],
    }


@pytest.mark.parametrize(
    ("toggle", "values", "peers", "expected"),
    [
        ("catalogue-weaviate", {}, "weaviate", {8080, 50052}),
        ("catalogue-weaviate", {"catalogue": {"weaviate": {"url": "https://w.example"}}}, "weaviate", {443, 50052}),
        ("tracing", {}, "collector", {4318}),
    ],
)
def test_peer_is_reached_on_the_ports_of_its_address(
    toggle: str, values: Values, peers: str, expected: set[int]
) -> None:
    (_, rule) = policy(TOGGLES[toggle], values)["egress"]
    assert rule["to"] == TOGGLES[toggle]["networkPolicy"][peers]
    assert ports(rule) == expected


def test_peers_of_what_is_off_are_not_reached() -> None:
    peers = {name: [{"podSelector": {"matchLabels": {"a": "b"}}}] for name in ("store", "weaviate", "collector")}
    assert "egress" not in policy({"networkPolicy": peers})


@pytest.mark.parametrize(
    ("endpoint", "port"),
    [
        ("http://store.local", 80),
        ("http://store.local:9000", 9000),
        ("https://store.local", 443),
        ("https://s:8443/x", 8443),
    ],
)
def test_bucket_is_reached_on_the_port_of_its_address(endpoint: str, port: int) -> None:
    values = {"modelRepository": {"s3": {"endpoint": endpoint}}}
    assert ports(policy(TOGGLES["repository-s3-compatible"], values)["egress"][1]) == {port}


def test_policy_is_absent_when_it_is_off() -> None:
    assert not render(TOGGLES["network-open"]).all("NetworkPolicy")
