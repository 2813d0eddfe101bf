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


def test_bucket_is_reached_over_https_and_dns() -> None:
    (rule, identity) = policy(TOGGLES["repository-s3"])["egress"]
    assert ports(rule) == {53, 443}
    assert [peer["ipBlock"]["cidr"] for peer in identity["to"]] == ["169.254.169.254/32", "169.254.170.23/32"]


def test_metadata_service_is_denied_when_a_secret_opens_the_bucket() -> None:
    for toggle in ("repository-s3-compatible", "repository-gcs-key"):
        (rule,) = policy(TOGGLES[toggle])["egress"]
        assert "to" not in rule


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
    assert ports(policy(TOGGLES["repository-s3-compatible"], values)["egress"][0]) == {53, port}


def test_policy_is_absent_when_it_is_off() -> None:
    assert not render(TOGGLES["network-open"]).all("NetworkPolicy")
