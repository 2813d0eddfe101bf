"""Strict schemas of every kind of object that the chart renders: those of Kubernetes and those of CRDs.

The package kubernetes-validate contains the schemas of each Kubernetes version. This module closes the schema of a CRD
where the API server would drop an unknown field.
"""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from referencing import Registry, Resource

from tests.chart.tools import CRDS

Object = dict[str, Any]

_KUBERNETES = files("kubernetes_validate") / "kubernetes-json-schema"
_CUSTOM_GROUPS = ("argoproj.io", "gateway.networking.k8s.io", "keda.sh", "monitoring.coreos.com")


def kube_versions() -> list[str]:
    """The Kubernetes versions that have schemas, such as `1.30.0`, oldest first."""
    found = (re.fullmatch(r"v(\d+)\.(\d+)\.0-local-strict", folder.name) for folder in _KUBERNETES.iterdir())
    return [f"{major}.{minor}.0" for major, minor in sorted((int(m[1]), int(m[2])) for m in found if m)]


def is_custom(api_version: str) -> bool:
    """Whether a CRD, not Kubernetes, defines the kind."""
    return api_version.split("/")[0] in _CUSTOM_GROUPS


def violations(thing: Object, kube_version: str) -> list[str]:
    """Returns a line with the path of the field for each violation of the schema.

    Raises:
        LookupError: neither this Kubernetes version nor the CRDs define the kind.
    """
    api_version, kind = thing["apiVersion"], thing["kind"]
    validator = _custom(api_version, kind) if is_custom(api_version) else _native(api_version, kind, kube_version)
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(thing)]


@cache
def _definitions(kube_version: str) -> Registry[Any]:
    text = (_KUBERNETES / f"v{kube_version}-local-strict" / "_definitions.json").read_text()
    return Resource.from_contents(json.loads(text)) @ Registry()


@cache
def _native(api_version: str, kind: str, kube_version: str) -> Validator:
    group, _, version = api_version.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.split(".")[0], version)))
    path = _KUBERNETES / f"v{kube_version}-local-strict" / f"{name}.json"
    if not path.is_file():
        raise LookupError(f"Kubernetes {kube_version} has no {kind} in {api_version}")
    return Draft202012Validator(json.loads(path.read_text()), registry=_definitions(kube_version))


@cache
def _custom(api_version: str, kind: str) -> Validator:
    group, version = api_version.split("/")
    for path in sorted(CRDS.glob("*.yaml")):
        crd = _read_crd(path.name)
        if (crd["group"], crd["names"]["kind"]) != (group, kind):
            continue
        for served in crd["versions"]:
            if served["name"] == version and served["served"]:
                return Draft202012Validator(_closed(served["schema"]["openAPIV3Schema"], root=True))
    raise LookupError(f"no CRD in {CRDS} serves {kind} in {api_version}")


@cache
def _read_crd(name: str) -> Object:
    return yaml.load((CRDS / name).read_text(), Loader=yaml.CSafeLoader)["spec"]  # type: ignore[no-any-return]


def _closed(schema: Any, root: bool = False) -> Any:
    """The schema with `additionalProperties: false` wherever the API server would drop an unknown field."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {
        key: {name: _closed(part) for name, part in value.items()} if key == "properties" else _closed(value)
        for key, value in schema.items()
    }
    is_open = "additionalProperties" in closed or closed.get("x-kubernetes-preserve-unknown-fields")
    if closed.get("type") == "object" and "properties" in closed and not is_open:
        closed["additionalProperties"] = False
    if root:
        closed["properties"]["metadata"] = {"type": "object"}
    if closed.pop("nullable", False):
        return {"anyOf": [closed, {"type": "null"}]}
    return closed
