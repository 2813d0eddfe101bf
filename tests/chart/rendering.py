"""Renders the chart with the real Helm, once for each set of values: everything in `tests/chart` reads objects here."""

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


class RefusedByHelm(Exception):
    """Helm rendered nothing; the message is what it printed."""


@dataclass(frozen=True)
class Rendered:
    """The objects of one release, in Helm's order, its tests included."""

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


def render(
    values: Values | None = None,
    *,
    profile: str | None = None,
    helm: str = "helm4",
    release: str = RELEASE,
    namespace: str = NAMESPACE,
    kube_version: str | None = None,
) -> Rendered:
    """What `helm template` makes of the values, over those of a profile of `ci/` where one is named.

    Raises:
        RefusedByHelm: the schema, a refusal of the chart or Helm itself said no.
    """
    found = _render(
        json.dumps(values or {}, sort_keys=True),
        *(profile, helm, release, namespace, kube_version or kube_versions()[-1]),
    )
    if isinstance(found, str):
        raise RefusedByHelm(found)
    return found


def refusal(values: Values, **how: Any) -> str:
    """What Helm says when it refuses the values, as one line; it must refuse."""
    try:
        rendered = render(values, **how)
    except RefusedByHelm as refused:
        return " ".join(str(refused).split())
    raise AssertionError(f"rendered, though it should have been refused: {rendered.names()}")


def oldest_kube_version() -> str:
    """The oldest version that `kubeVersion` in Chart.yaml lets in and that there are schemas for."""
    wanted = yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"]
    floor: str = wanted.removeprefix(">=").strip().split("-")[0]
    assert floor in kube_versions(), f"kubeVersion {wanted!r}: expected `>=` and one of {kube_versions()}"
    return floor


def run_helm(helm: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Helm with a home of its own, so that no repository or plug-in of this account has a part in it."""
    binary = HELMS[helm]
    if not binary.exists():
        pytest.skip(f"no {binary}: run `make chart`, which fetches it")
    with tempfile.TemporaryDirectory() as home:
        environment = {"HOME": home, "PATH": "/usr/bin:/bin"}
        return subprocess.run(
            [str(binary), *arguments], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
        )


def needs_crds() -> None:
    """Skip where the schemas of custom resources were not fetched."""
    if not CRDS.exists():
        pytest.skip(f"no {CRDS}: run `make chart`, which fetches them through Go's module proxy")


@cache
def _render(
    values_json: str, profile: str | None, helm: str, release: str, namespace: str, kube_version: str
) -> Rendered | str:
    """The objects, or what Helm said instead: both are kept."""
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
    """The documents of a stream; a key that stands twice in a mapping is an error, as it is to the API server."""
    for thing in yaml.load_all(text, Loader=_StrictLoader):
        if thing is not None:
            yield thing


class _StrictLoader(yaml.CSafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"keys stand twice: {sorted(twice)}", node.start_mark)
        return super().construct_mapping(node, deep)
