"""Renders the chart with the real Helm, once for each set of values; all of `tests/chart` uses these objects."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.schemas import Object, kube_versions
from tests.chart.tools import CRDS, HELMS

CHART = Path(__file__).resolve().parents[2] / "helm/triptych"
PROFILES = {path.stem.removeprefix("values-"): path for path in sorted((CHART / "ci").glob("values-*.yaml"))}
RELEASE, NAMESPACE = "shop", "vision"

Values = dict[str, Any]


class HelmError(Exception):
    """Helm rendered nothing; the message is its output."""


@dataclass(frozen=True)
class Rendered:
    """The objects of one release in the order of Helm, including its tests."""

    text: str
    objects: tuple[Object, ...] = field(repr=False)
    namespace: str = NAMESPACE

    def __iter__(self) -> Iterator[Object]:
        return iter(self.objects)

    def all(self, kind: str) -> list[Object]:
        return [thing for thing in self.objects if thing["kind"] == kind]

    def one(self, kind: str, suffix: str | None = None) -> Object:
        """The only object of the kind, or the only one whose name ends in the suffix."""
        found = [thing for thing in self.all(kind) if suffix is None or thing["metadata"]["name"].endswith(suffix)]
        assert len(found) == 1, f"{len(found)} objects are a {kind} (suffix {suffix}): {self.names()}"
        return found[0]

    def names(self) -> list[tuple[str, str]]:
        return [(thing["kind"], thing["metadata"]["name"]) for thing in self.objects]

    def workload(self) -> Object:
        """The Deployment, StatefulSet or Rollout that runs the server."""
        (found,) = [thing for thing in self.objects if thing["kind"] in ("Deployment", "StatefulSet", "Rollout")]
        return found

    def pod(self) -> Object:
        """The server's pod template."""
        return self.workload()["spec"]["template"]  # type: ignore[no-any-return]

    def server(self) -> Object:
        """The container that runs tritonserver."""
        return self.pod()["spec"]["containers"][0]  # type: ignore[no-any-return]

    def init_containers(self) -> dict[str, Object]:
        """The init containers of the server's pod by name, in their order."""
        return {container["name"]: container for container in self.pod()["spec"].get("initContainers", [])}

    def front(self) -> Object:
        """The sidecar that runs Envoy."""
        return self.init_containers()["front"]

    def front_config(self) -> Object:
        """The configuration of Envoy."""
        return json.loads(self.one("ConfigMap", "-front")["data"]["front.json"])  # type: ignore[no-any-return]


def render(
    values: Values | None = None,
    *,
    profile: str | None = None,
    helm: str = "helm4",
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    kube_version: str | None = None,
) -> Rendered:
    """The objects that `helm template` renders from the values, merged over those of a profile of `ci/`.

    Raises:
        HelmError: the schema, the validation of the chart or Helm refused the values.
    """
    found = _render(
        json.dumps(values or {}, sort_keys=True),
        *(profile, helm, release, namespace, kube_version or kube_versions()[-1]),
    )
    if isinstance(found, str):
        raise HelmError(found)
    return found


def helm_error(values: Values, **how: Any) -> str:
    """The error of Helm for these values, as one line; Helm must refuse them."""
    try:
        rendered = render(values, **how)
    except HelmError as error:
        return " ".join(str(error).split())
    raise AssertionError(f"Helm rendered {rendered.names()}, expected an error")


def oldest_kube_version() -> str:
    """The oldest version that `kubeVersion` in Chart.yaml accepts and that has schemas."""
    wanted = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    floor: str = wanted.removeprefix(">=").strip().split("-")[0]
    assert floor in kube_versions(), f"kubeVersion {wanted!r}: expected `>=` and one of {kube_versions()}"
    return floor


def run_helm(helm: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm with an empty home, so that no repository or plug-in of this account affects it."""
    binary = HELMS[helm]
    if not binary.exists():
        pytest.skip(f"no {binary}: run `make chart`, which fetches it")
    with tempfile.TemporaryDirectory() as home:
        # Helm runs for a tenth of a second: collecting garbage is a quarter of its work.
        environment = {"HOME": home, "PATH": "/usr/bin:/bin", "GOGC": "off"}
        return subprocess.run(
            [str(binary), *arguments], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
        )


def needs_crds() -> None:
    """Skip the test if the schemas of custom resources are missing."""
    if not CRDS.exists():
        pytest.skip(f"no {CRDS}: run `make chart`, which fetches them through Go's module proxy")


@cache
def _render(
    values_json: str, profile: str | None, helm: str, release: str, namespace: str, kube_version: str
) -> Rendered | str:
    """The objects or the error of Helm; both are cached."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as values:
        values.write(values_json)
        values.flush()
        done = run_helm(
            *(helm, "template", release, str(CHART), "--namespace", namespace, "--kube-version", kube_version),
            *(("--values", str(PROFILES[profile])) if profile else ()),
            *("--values", values.name),
        )
    if done.returncode:
        return done.stderr.strip()
    assert not done.stderr.strip(), done.stderr
    return Rendered(done.stdout, tuple(parse(done.stdout)), namespace)


def parse(text: str) -> Iterator[Object]:
    """The documents of a stream; a duplicate key is an error, as it is for the API server."""
    for thing in yaml.load_all(text, Loader=_StrictLoader):
        if thing is not None:
            yield thing


class _StrictLoader(yaml.CSafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"duplicate keys: {sorted(twice)}", node.start_mark)
        return super().construct_mapping(node, deep)
