"""ingress.yaml: HTTP from outside of the cluster."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import render


def test_ingress_is_absent_by_default() -> None:
    assert not render().all("Ingress")


def test_ingress_leads_http_to_the_service() -> None:
    spec = render(TOGGLES["ingress"]).one("Ingress")["spec"]
    (rule,) = spec["rules"]
    (path,) = rule["http"]["paths"]
    assert (rule["host"], path["path"], path["pathType"]) == ("photos.example", "/v2", "Prefix")
    assert path["backend"]["service"] == {"name": "shop-triptych", "port": {"name": "http"}}
    assert spec["tls"] == [{"secretName": "photos-tls", "hosts": ["photos.example"]}]
    assert spec["ingressClassName"] == "nginx"


def test_ingress_leaves_class_and_tls_out_when_they_are_empty() -> None:
    spec = render(merged(TOGGLES["ingress"], {"ingress": {"className": "", "tls": []}})).one("Ingress")["spec"]
    assert set(spec) == {"rules"}


def test_each_host_has_a_rule() -> None:
    spec = render(merged(TOGGLES["ingress"], {"ingress": {"hosts": ["a.example", "*.b.example"]}})).one("Ingress")[
        "spec"
    ]
    assert [rule["host"] for rule in spec["rules"]] == ["a.example", "*.b.example"]
