"""The chart as a dependency of a shop's own chart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.chart.matrix import DIGEST
from tests.chart.rendering import CHART, NAMESPACE, RELEASE, Rendered, Values, parse, render, run_helm
from tests.chart.schemas import kube_versions, violations
from tests.chart.tools import HELMS


@pytest.fixture(scope="module", params=HELMS)
def parent(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A shop's chart with this one as dependency, built without a network; and the Helm that built it."""
    folder = tmp_path_factory.mktemp("parent") / "shop"
    (folder / "templates").mkdir(parents=True)
    dependency = {
        "name": "triptych",
        "version": ">=0",
        "repository": f"file://{CHART}",
        "condition": "triptych.enabled",
    }
    about = {"apiVersion": "v2", "name": "shop", "version": "1.0.0", "dependencies": [dependency]}
    (folder / "Chart.yaml").write_text(yaml.safe_dump(about))
    (folder / "templates/own.yaml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: own}}")
    done = run_helm(request.param, "dependency", "update", str(folder), "--skip-refresh")
    assert done.returncode == 0, done.stderr
    return request.param, folder


def render_parent(parent: tuple[str, Path], values: Values, tmp_path: Path) -> Rendered:
    helm, folder = parent
    (tmp_path / "values.json").write_text(json.dumps(values))
    version = ("--kube-version", kube_versions()[-1])
    chosen = ("--namespace", NAMESPACE, *version, "--values", str(tmp_path / "values.json"))
    done = run_helm(helm, "template", RELEASE, str(folder), *chosen)
    assert done.returncode == 0, done.stderr
    return Rendered(done.stdout, tuple(parse(done.stdout)))


@pytest.mark.parametrize(
    ("values", "is_installed"),
    [
        ({}, True),
        ({"triptych": {"enabled": True}}, True),
        ({"triptych": {"enabled": False}}, False),
        ({"triptych": {"enabled": False, "workload": {"replicas": 1}}}, False),
        ({"global": {"storageClass": "fast", "triptych": 1}, "tags": {"vision": True}}, True),
    ],
)
def test_condition_of_the_parent_decides(
    parent: tuple[str, Path], values: Values, is_installed: bool, tmp_path: Path
) -> None:
    rendered = render_parent(parent, values, tmp_path)
    assert ("ConfigMap", "own") in rendered.names()
    assert (len(rendered.objects) > 1) == is_installed
    if is_installed:
        require_valid(rendered)


def test_global_values_of_the_parent_are_honoured(parent: tuple[str, Path], tmp_path: Path) -> None:
    shared = {"imageRegistry": "registry.shop.example:5000", "imagePullSecrets": ["first", {"name": "second"}]}
    own = {"image": {"pullSecrets": ["first", "own"], "digest": DIGEST}, "workload": {"replicas": 3}}
    rendered = render_parent(parent, {"global": shared, "triptych": own}, tmp_path)
    image = f"registry.shop.example:5000/triptych:0.1.0@{DIGEST}"
    assert rendered.server()["image"] == rendered.front()["image"] == image
    for pod in (rendered.pod()["spec"], *(test["spec"] for test in rendered.all("Pod"))):
        assert pod["imagePullSecrets"] == [{"name": "first"}, {"name": "own"}, {"name": "second"}]
        assert {container["image"] for container in pod["containers"]} == {image}
    assert rendered.workload()["spec"]["replicas"] == 3


def test_own_registry_comes_before_the_global_one() -> None:
    rendered = render({"image": {"registry": "own.example"}, "global": {"imageRegistry": "global.example"}})
    assert rendered.server()["image"].startswith("own.example/triptych:")


@pytest.mark.parametrize(
    ("image", "pulled"),
    [
        ("rclone/rclone:1.69.1", "global.example/rclone/rclone:1.69.1"),
        ("rclone:1.69.1", "global.example/rclone:1.69.1"),
        ("ghcr.io/rclone/rclone:1.69.1", "ghcr.io/rclone/rclone:1.69.1"),
        ("localhost/rclone:1.69.1", "localhost/rclone:1.69.1"),
        ("mirror:5000/rclone:1.69.1", "mirror:5000/rclone:1.69.1"),
    ],
)
def test_global_registry_holds_other_images_that_name_none(image: str, pulled: str) -> None:
    bucket = {"type": "s3", "release": DIGEST, "s3": {"bucket": "models"}, "fetcher": {"image": image}}
    rendered = render({"modelRepository": bucket, "global": {"imageRegistry": "global.example/"}})
    assert rendered.init_containers()["fetch-release"]["image"] == pulled


def require_valid(rendered: Rendered) -> None:
    assert [fault for thing in rendered for fault in violations(thing, kube_versions()[-1])] == []
