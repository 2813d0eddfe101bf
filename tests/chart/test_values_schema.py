"""values.schema.json is closed at every level and as strict as the comments in values.yaml."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from export.profiles.rendering import DEFAULT_PROFILES
from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import CHART, PROFILES, Values, helm_error
from tests.chart.tools import HELMS

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
DEFAULTS = yaml.safe_load((CHART / "values.yaml").read_text())
VALIDATOR = Draft7Validator(SCHEMA)
# Types of Kubernetes, which the chart passes on; the schema does not repeat their fields.
HANDED_ON = {
    "podAnnotations", "podLabels", "commonLabels", "nodeSelector", "affinity", "resources", "requests", "limits",
    "annotations", "labels", "global", "metadata", "podSelector", "namespaceSelector", "ipBlock", "seLinuxOptions",
}  # fmt: skip


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    return schema


def keys(schema: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """Every key of the schema outside of lists, with its schema."""
    for name, part in resolved(schema).get("properties", {}).items():
        yield (*path, name), resolved(part)
        yield from keys(part, (*path, name))


def at(path: tuple[str, ...], value: Any) -> Values:
    for name in reversed(path):
        value = {name: value}
    return value  # type: ignore[no-any-return]


def errors(*values: Values) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(merged(DEFAULTS, *values))]


# Names of other charts, which the templates refuse with a sentence; and keys whose other forms they take or refuse.
FOREIGN = {name for name, part in SCHEMA["properties"].items() if part.get("$ref") == "#/definitions/foreign"}

OBJECTS = [path for path, schema in keys(SCHEMA) if schema.get("type") == "object" and path[-1] not in HANDED_ON]
LEAVES = {path: schema for path, schema in keys(SCHEMA) if "properties" not in schema and path[-1] not in HANDED_ON}
LEAVES = {path: schema for path, schema in LEAVES.items() if path[0] not in FOREIGN}


STRANGE: dict[str, Any] = {"string": "no such value", "integer": 7, "boolean": True, "array": [[1]], "object": {"a": 1}}


def test_schema_is_valid() -> None:
    Draft7Validator.check_schema(SCHEMA)
    assert len(OBJECTS) > 40
    assert len(LEAVES) > 150


@pytest.mark.parametrize("path", [(), *OBJECTS], ids=".".join)
def test_unknown_key_is_refused(path: tuple[str, ...]) -> None:
    assert errors(at((*path, "unknwon"), 1))


@pytest.mark.parametrize("path", LEAVES, ids=".".join)
def test_wrong_type_is_refused(path: tuple[str, ...]) -> None:
    schema = LEAVES[path]
    accepted = _types(schema)
    wrong: dict[str, Any] = {
        "string": "no such value",
        "integer": 7,
        "boolean": True,
        "array": [[1]],
        "object": {"a": 1},
    }
    strange = [value for kind, value in wrong.items() if kind not in accepted]
    assert accepted
    assert len(strange) >= 3
    for value in strange:
        assert errors(at(path, [value] if value == {"a": 1} else value)) or errors(at(path, value)), value


def _types(schema: dict[str, Any]) -> set[str]:
    schema = resolved(schema)
    if "anyOf" in schema:
        return set().union(*map(_types, schema["anyOf"]))
    if "enum" in schema and "type" not in schema:
        return {"string"}
    named = schema.get("type", [])
    found = {named} if isinstance(named, str) else set(named)
    return found | ({"integer"} if "number" in found else set())


def test_profiles_are_those_that_the_export_places_by_default() -> None:
    """The serving image contains no torch, so it cannot serve the other profile, `gpu-torch`."""
    profile = SCHEMA["properties"]["triton"]["properties"]["modelConfigName"]
    assert profile["enum"] == ["", *DEFAULT_PROFILES]


def test_defaults_and_every_other_set_of_values_conform() -> None:
    assert not errors()
    for toggle in TOGGLES.values():
        assert not errors(toggle)
    for path in PROFILES.values():
        assert not errors(yaml.safe_load(path.read_text()))


def test_every_key_has_a_default_and_every_default_a_key() -> None:
    def named(values: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
        if isinstance(values, dict) and (not path or path[-1] not in HANDED_ON):
            for name, value in values.items():
                yield (*path, name)
                yield from named(value, (*path, name))

    known = {path for path, _ in keys(SCHEMA) if not set(path[:-1]) & HANDED_ON}
    # Helm's own key, and keys without a default.
    optional = {
        ("global",),
        ("podSecurityContext", "seccompProfile", "localhostProfile"),
        *((name,) for name in FOREIGN),
    }
    assert set(named(DEFAULTS)) == known - {path for path in known if _is_optional(path)} - optional


def _is_optional(path: tuple[str, ...]) -> bool:
    """Whether the key is an optional field of a Kubernetes type."""
    return path[0] in ("podSecurityContext", "containerSecurityContext") and path not in {
        tuple(key) for key in _paths_of(DEFAULTS, path[0])
    }


def _paths_of(values: Values, name: str) -> Iterator[tuple[str, ...]]:
    yield (name,)
    for key, value in values[name].items():
        yield (name, key)
        if isinstance(value, dict):
            yield from ((name, key, inner) for inner in value)


# Wrong values, and words of Helm's error: the key, and the accepted values.
WRONG: dict[str, tuple[Values, tuple[str, ...]]] = {
    "typo": ({"workload": {"replica": 3}}, ("workload", "replica", "not allowed")),
    "typo-at-the-top": ({"autoscalling": {}}, ("autoscalling", "not allowed")),
    "dot-in-a-name": ({"fullnameOverride": "shop.v2"}, ("fullnameOverride", "match pattern")),
    "half-a-policy": (
        {"autoscaling": {"hpa": {"behavior": {"scaleUp": {"policies": [{"type": "Pods", "value": 1}]}}}}},
        ("scaleUp", "policies", "periodSeconds"),
    ),
    "gateway-without-name": (
        {"gatewayApi": {"httpRoute": {"parentRefs": [{"namespace": "gateways"}]}}},
        ("parentRefs", "name"),
    ),
    "profile-that-the-image-lacks": (
        {"triton": {"modelConfigName": "gpu-torch"}},
        ("triton", "modelConfigName", "cpu-native", "gpu"),
    ),
    "unknown-kind": ({"workload": {"kind": "DaemonSet"}}, ("workload", "kind", "Deployment", "StatefulSet", "Rollout")),
    "poll": ({"modelRepository": {"type": "poll"}}, ("modelRepository", "type", "pvc", "ociVolume")),
    "short-digest": (
        {"modelRepository": {"release": "sha256:abc"}},
        ("modelRepository", "release", "sha256:[0-9a-f]{64}"),
    ),
    "seconds-as-text": ({"triton": {"exitTimeoutSeconds": "15s"}}, ("triton", "exitTimeoutSeconds", "integer")),
    "quantity-without-sense": ({"shm": {"sizeLimit": "1 GB"}}, ("shm", "sizeLimit", "match pattern")),
    "version-of-the-wrong-shape": ({"triton": {"version": "2.51.0"}}, ("triton", "version", "match pattern")),
    "no-flag": ({"triton": {"extraArgs": ["log-verbose=1"]}}, ("extraArgs", "match pattern")),
    "more-than-all": ({"canary": {"route": {"weightPercent": 101}}}, ("canary", "route", "weightPercent", "100")),
    "scaling-policy-without-a-period": (
        {"autoscaling": {"hpa": {"behavior": {"scaleDown": {"policies": [{"type": "Pods", "value": 1}]}}}}},
        ("autoscaling", "scaleDown", "policies", "periodSeconds"),
    ),
    "label-that-selects": (
        {"podLabels": {"app.kubernetes.io/name": "mine"}},
        ("app.kubernetes.io/name",),
    ),
}


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("case", WRONG)
def test_helm_says_which_key_is_wrong_and_what_is_allowed(case: str, helm: str) -> None:
    values, words = WRONG[case]
    said = helm_error(values, helm=helm)
    assert "values don't meet the specifications of the schema" in said
    for word in words:
        assert word in said
