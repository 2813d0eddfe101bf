"""Each invariant finds the objects that violate it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy

import pytest

from tests.chart.invariants import inconsistencies
from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import Rendered, needs_crds, render
from tests.chart.schemas import Object, kube_versions

NEWEST = kube_versions()[-1]
ALL = merged(*(TOGGLES[name] for name in ("hpa", "http-route", "ingress", "service-monitor", "rollout-analysis")))


def server(found: Rendered) -> Object:
    return found.server()


BREAKS: dict[str, tuple[Callable[[Rendered], object], str]] = {
    "unknown-field": (lambda found: server(found).update(imagePulPolicy="Always"), "Additional properties"),
    "unknown-field-of-a-crd": (
        lambda found: found.one("HTTPRoute")["spec"].update(hostname="a"),
        "Additional properties",
    ),
    "wrong-type": (lambda found: found.front()["ports"][0].update(containerPort="8000"), "is not of type 'integer'"),
    "null": (lambda found: found.one("Ingress")["metadata"].update(annotations=None), "annotations is null"),
    "long-name": (lambda found: found.one("ServiceAccount")["metadata"].update(name="a" * 64), "is not a DNS label"),
    "label": (lambda found: found.one("Ingress")["metadata"]["labels"].update(team="a b"), "'a b' is not allowed"),
    "other-namespace": (lambda found: found.one("Ingress")["metadata"].update(namespace="x"), "in the namespace x"),
    "selector": (
        lambda found: found.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"].update(a="b"),
        "does not match the server's pods",
    ),
    "selector-of-tests": (
        lambda found: found.all("Pod")[0]["metadata"].update(labels=found.pod()["metadata"]["labels"]),
        "matches a pod that is not a server",
    ),
    "service-port": (
        lambda found: found.one("Service", "triptych")["spec"]["ports"][0].update(targetPort="web"),
        "has the target port web",
    ),
    "probe-port": (lambda found: found.front()["livenessProbe"]["httpGet"].update(port="web"), "uses port web"),
    "monitor-port": (
        lambda found: found.one("ServiceMonitor")["spec"]["endpoints"][0].update(port="web"),
        "which its Service does not have",
    ),
    "monitor-selector": (
        lambda found: found.one("ServiceMonitor")["spec"]["selector"]["matchLabels"].clear(),
        "selects 2 Services",
    ),
    "mount": (
        lambda found: server(found)["volumeMounts"].append({"name": "x", "mountPath": "/x"}),
        "which is not a volume",
    ),
    "volume": (lambda found: found.pod()["spec"]["volumes"].append({"name": "x", "emptyDir": {}}), "x is not mounted"),
    "config-map": (
        lambda found: [
            volume["configMap"].update(name="gone")
            for volume in found.pod()["spec"]["volumes"]
            if "configMap" in volume
        ],
        "there is no ConfigMap gone",
    ),
    "token": (lambda found: found.pod()["spec"].pop("automountServiceAccountToken"), "token is mounted"),
    "account": (lambda found: found.pod()["spec"].update(serviceAccountName="x"), "the pods run as x"),
    "scaler": (
        lambda found: found.one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(kind="Deployment"),
        "HorizontalPodAutoscaler scales",
    ),
    "replicas": (lambda found: found.workload()["spec"].update(replicas=2), "sets replicas"),
    "route-port": (
        lambda found: found.one("HTTPRoute")["spec"]["rules"][0]["backendRefs"][0].update(port=1),
        "uses port 1 of",
    ),
    "route-service": (
        lambda found: found.one("HTTPRoute")["spec"]["rules"][0]["backendRefs"][0].update(name="x"),
        "uses no Service of this release",
    ),
    "untagged-image": (lambda found: server(found).update(image="registry:5000/triptych"), "neither tag nor digest"),
    "variable-twice": (lambda found: server(found)["env"].append({"name": "HOME", "value": "/"}), "HOME is set twice"),
}


@pytest.mark.parametrize("broken", BREAKS)
def test_invariants_report_the_violation(broken: str) -> None:
    needs_crds()
    rendered = render(ALL)
    assert inconsistencies(rendered, NEWEST) == []
    spoilt = Rendered(rendered.text, deepcopy(rendered.objects))
    spoil, sentence = BREAKS[broken]
    spoil(spoilt)
    assert any(sentence in line for line in inconsistencies(spoilt, NEWEST))


def test_invariants_report_a_duplicate_object() -> None:
    needs_crds()
    rendered = render()
    assert any(
        "2 objects" in line for line in inconsistencies(Rendered("", (*rendered, rendered.all("Pod")[0])), NEWEST)
    )
