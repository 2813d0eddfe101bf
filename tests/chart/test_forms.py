"""Forms in which people write values: taken where they can mean only one thing, else refused with the right form."""

from __future__ import annotations

from typing import Any

import pytest

from tests.chart.rendering import Values, helm_error, render
from tests.chart.schemas import kube_versions, violations
from tests.chart.tools import HELMS

# Values, and the part of the error that says how to write them.
REFUSED: dict[str, tuple[Values, str]] = {
    "version-as-number": (
        {"triton": {"version": 26.1}},
        "triton.version is the number 26.1, which loses a last 0. Write",
    ),
    "tag-as-number": (
        {"image": {"tag": 1.5}},
        'image.tag is the number 1.5, which YAML may round. Write it as text: image.tag: "1.5"',
    ),
    "tolerations-as-map": (
        {"tolerations": {"key": "gpu", "operator": "Exists"}},
        "tolerations is a map; the chart takes a list. Write tolerations: [{key: nvidia.com/gpu, operator: Exists}]",
    ),
    "spread-as-map": (
        {"topologySpreadConstraints": {"topologyKey": "zone"}},
        "topologySpreadConstraints is a map; the chart takes a list. Write topologySpreadConstraints: [{topologyKey:",
    ),
    "selector-as-list": (
        {"nodeSelector": [{"disk": "ssd"}]},
        "nodeSelector is a list; the chart takes a map. Write nodeSelector: {kubernetes.io/arch: amd64}",
    ),
    "affinity-as-list": ({"affinity": [{"nodeAffinity": {}}]}, "affinity is a list; the chart takes a map"),
    "objects-as-map": (
        {"extraObjects": {"mine": {"kind": "ConfigMap"}}},
        "extraObjects is a map; the chart takes a list",
    ),
    "volumes-as-map": (
        {"extraVolumes": {"cache": {"emptyDir": {}}}},
        "Write extraVolumes: [{name: cache, emptyDir: {}}]",
    ),
    "mounts-as-map": ({"extraVolumeMounts": {"cache": "/c"}}, "Write extraVolumeMounts: [{name: cache, mountPath:"),
    "secrets-as-map": ({"extraEnvFrom": {"secretRef": {"name": "a"}}}, "Write extraEnvFrom: [{secretRef: {name:"),
    "port-as-text": (
        {"service": {"grpcPort": "9001"}},
        'service.grpcPort is the text "9001"; the chart takes a number. Write service.grpcPort: 9001 without quotation',
    ),
    "memory-as-number": (
        {"resources": {"limits": {"memory": 4}}},
        'resources.limits.memory is the number 4, which Kubernetes reads as bytes. Write it with its unit: "4Gi"',
    ),
    "memory-of-the-front-as-number": (
        {"front": {"resources": {"limits": {"memory": 2}}}},
        "front.resources.limits.memory is",
    ),
    "secrets-of-other-charts": (
        {"imagePullSecrets": [{"name": "registry"}]},
        "imagePullSecrets is no value of this chart. Use image.pullSecrets: [my-secret]",
    ),
    "replicas-of-other-charts": ({"replicaCount": 3}, "replicaCount is no value of this chart. Use workload.replicas"),
    "variables-of-other-charts": (
        {"env": {"A": "b"}},
        "env is no value of this chart. Use extraEnv: [{name: NAME, value:",
    ),
    "global-registry-as-map": (
        {"global": {"imageRegistry": {"host": "r"}}},
        "Write global.imageRegistry: registry.example",
    ),
    "global-secrets-as-map": (
        {"global": {"imagePullSecrets": {"name": "r"}}},
        "write global.imagePullSecrets: [my-secret]",
    ),
    "variables-as-map-that-the-chart-sets": (
        {"extraEnv": {"TRIPTYCH_CATALOGUE_DIR": "/data"}},
        "extraEnv contains TRIPTYCH_CATALOGUE_DIR, which the chart sets itself. Remove it and use catalogue",
    ),
}


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("case", REFUSED)
def test_form_that_is_refused_is_shown_as_the_chart_takes_it(case: str, helm: str) -> None:
    values, sentence = REFUSED[case]
    said = helm_error(values, helm=helm)
    assert "The chart refuses these values" in said
    assert sentence in said


# Forms that can mean only one thing, and the form of the documentation.
TAKEN: dict[str, tuple[Values, Values]] = {
    "variables-as-map": (
        {
            "extraEnv": {
                "A": "b",
                "N": 1000000,
                "ON": True,
                "S": {"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            }
        },
        {
            "extraEnv": [
                {"name": "A", "value": "b"},
                {"name": "N", "value": "1000000"},
                {"name": "ON", "value": "true"},
                {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            ]
        },
    ),
    "variable-as-number": (
        {"extraEnv": [{"name": "N", "value": 5}, {"name": "F", "value": 0.5}]},
        {"extraEnv": [{"name": "N", "value": "5"}, {"name": "F", "value": "0.5"}]},
    ),
    "secrets-as-objects": (
        {"image": {"pullSecrets": [{"name": "a"}, "b"]}},
        {"image": {"pullSecrets": ["a", "b"]}},
    ),
    "secret-as-text": ({"image": {"pullSecrets": "a"}}, {"image": {"pullSecrets": ["a"]}}),
    "annotations-as-scalars": (
        {"podAnnotations": {"prometheus.io/port": 8002, "prometheus.io/scrape": True, "x/big": 12345678}},
        {"podAnnotations": {"prometheus.io/port": "8002", "prometheus.io/scrape": "true", "x/big": "12345678"}},
    ),
    "service-annotations-as-scalars": (
        {"service": {"annotations": {"x/idle": 3600, "x/ssl": False}}},
        {"service": {"annotations": {"x/idle": "3600", "x/ssl": "false"}}},
    ),
    "labels-as-scalars": (
        {"commonLabels": {"cost": 42}, "podLabels": {"spot": False}},
        {"commonLabels": {"cost": "42"}, "podLabels": {"spot": "false"}},
    ),
    "selector-as-scalars": ({"nodeSelector": {"gpu": True}}, {"nodeSelector": {"gpu": "true"}}),
    "cores-as-number": (
        {"resources": {"requests": {"cpu": 2, "memory": "3Gi"}}},
        {"resources": {"requests": {"cpu": "2", "memory": "3Gi"}}},
    ),
}


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("case", TAKEN)
def test_form_that_can_mean_only_one_thing_is_taken(case: str, helm: str) -> None:
    written, documented = TAKEN[case]
    rendered = render(written, helm=helm)
    assert as_text(rendered.objects) == as_text(render(documented, helm=helm).objects)
    assert [fault for thing in rendered for fault in violations(thing, kube_versions()[-1])] == []


def as_text(value: Any) -> Any:
    """Without the difference between 2 and "2" of a quantity of cores, which Kubernetes takes in both forms."""
    if isinstance(value, dict):
        return {key: str(part) if key == "cpu" else as_text(part) for key, part in value.items()}
    return [*map(as_text, value)] if isinstance(value, list | tuple) else value
