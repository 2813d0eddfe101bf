"""Helm installs, upgrades, rolls back, tests and removes the chart on a real API server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from tests.chart.cluster.control_plane import ControlPlane
from tests.chart.matrix import DIGEST, OTHER_DIGEST, TOGGLES, merged
from tests.chart.rendering import CHART, NAMESPACE, PROFILES, RELEASE, Values, render, run_helm
from tests.chart.schemas import Object
from tests.chart.tools import HELMS

# Objects that Kubernetes creates and deletes by itself.
TRANSIENT = ("events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses")
GONE_TIMEOUT_S = 60
RELEASED: Values = {"modelRepository": {"type": "pvc", "release": DIGEST, "pvc": {"existingClaim": "models"}}}


def helm(cluster: ControlPlane, version: str, *arguments: str) -> str:
    done = run_helm(
        version, *arguments, "--kubeconfig", str(cluster.kubeconfig), "--namespace", NAMESPACE, "--timeout", "3m"
    )
    happened = "" if done.returncode == 0 else cluster.kubectl("get", "events,pods", "-n", NAMESPACE)
    assert done.returncode == 0, f"{done.stderr}{happened}"
    return done.stdout


@pytest.fixture
def nothing_left(cluster: ControlPlane) -> Iterator[None]:
    """Fails the test if the release leaves an object; uninstalls the release if the test failed."""
    before = inventory(cluster)
    yield
    helm(cluster, "helm4", "uninstall", RELEASE, "--ignore-not-found", "--wait")
    deadline_s = time.monotonic() + GONE_TIMEOUT_S  # Kubernetes deletes dependent objects later
    while (now := inventory(cluster)) != before and time.monotonic() < deadline_s:
        time.sleep(0.5)
    assert now == before


def inventory(cluster: ControlPlane) -> set[str]:
    """Every object of the cluster, as `kind/namespace/name`."""
    kinds = cluster.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    template = r'{range .items[*]}{.kind}/{.metadata.namespace}/{.metadata.name}{"\n"}{end}'
    wanted = ",".join(sorted(set(kinds) - set(TRANSIENT)))
    return set(cluster.kubectl("get", wanted, "-A", "-o", f"jsonpath={template}").split())


def values_file(cluster: ControlPlane, values: Values) -> str:
    path = cluster.folder / "values.json"
    path.write_text(json.dumps(values))
    return str(path)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("version", HELMS)
def test_release_installs_upgrades_rolls_back_and_is_tested(cluster: ControlPlane, version: str) -> None:
    name = render(RELEASED).workload()["metadata"]["name"]

    def rolled_out() -> Object:
        # Helm waits until enough new pods are ready, but not until the old pods are deleted.
        cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", NAMESPACE, "--timeout=3m")
        found: Object = json.loads(cluster.kubectl("get", "deployment", name, "-n", NAMESPACE, "-o", "json"))
        assert found["status"]["updatedReplicas"] == found["status"]["readyReplicas"] == found["spec"]["replicas"] == 2
        return found["spec"]["template"]  # type: ignore[no-any-return]

    helm(cluster, version, "install", RELEASE, str(CHART), "--wait", "--values", values_file(cluster, RELEASED))
    first = rolled_out()
    assert first["metadata"]["annotations"]["triptych-release"] == DIGEST

    new = merged(RELEASED, {"modelRepository": {"release": OTHER_DIGEST}})
    helm(cluster, version, "upgrade", RELEASE, str(CHART), "--wait", "--values", values_file(cluster, new))
    second = rolled_out()
    assert second["metadata"]["annotations"]["triptych-release"] == OTHER_DIGEST
    assert DIGEST.removeprefix("sha256:")[:12] not in json.dumps(second)

    helm(cluster, version, "rollback", RELEASE, "--wait")
    assert rolled_out() == first

    tested = helm(cluster, version, "test", RELEASE)
    assert tested.count("Succeeded") == len(render(RELEASED).all("Pod")) == 2

    helm(cluster, version, "uninstall", RELEASE)


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("profile", PROFILES)
def test_profile_installs(cluster: ControlPlane, profile: str) -> None:
    before = inventory(cluster)
    helm(cluster, "helm4", "install", RELEASE, str(CHART), "--wait", "--values", str(PROFILES[profile]))
    wanted = {
        f"{thing['kind']}/{NAMESPACE}/{thing['metadata']['name']}"
        for thing in render(profile=profile)
        if "helm.sh/hook" not in thing["metadata"].get("annotations", {})
    }
    assert wanted <= inventory(cluster) - before


@pytest.mark.parametrize("toggle", TOGGLES)
def test_objects_are_admitted_without_a_warning(cluster: ControlPlane, toggle: str) -> None:
    """The API server checks unknown fields, defaults, CEL rules of CRDs and pod security."""
    cluster.kubectl(
        *("apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-n", NAMESPACE, "-f", "-"),
        stdin=render(TOGGLES[toggle]).text,
    )


@pytest.mark.parametrize("release", ["true", "shop.v2"])
def test_objects_are_admitted_when_the_release_has_an_odd_name(cluster: ControlPlane, release: str) -> None:
    wide = merged(*(TOGGLES[name] for name in ("hpa-external", "pod-monitor", "rollout-routes", "rollout-analysis")))
    cluster.kubectl(
        *("apply", "--dry-run=server", "--validate=strict", "--warnings-as-errors", "-n", NAMESPACE, "-f", "-"),
        stdin=render(wide, release=release).text,
    )


@pytest.mark.usefixtures("nothing_left")
def test_scheduler_allocates_a_device_to_each_pod_when_dra_is_on(cluster: ControlPlane) -> None:
    values = values_file(cluster, TOGGLES["gpu-dra"])
    helm(cluster, "helm4", "install", RELEASE, str(CHART), "--wait", "--values", values)
    claims = json.loads(cluster.kubectl("get", "resourceclaims", "-n", NAMESPACE, "-o", "json"))["items"]
    devices = [claim["status"]["allocation"]["devices"]["results"][0]["device"] for claim in claims]
    assert len(set(devices)) == len(devices) == 2


@pytest.mark.usefixtures("nothing_left")
def test_two_releases_live_in_one_namespace(cluster: ControlPlane) -> None:
    try:
        for release in (RELEASE, "other"):
            helm(cluster, "helm4", "install", release, str(CHART), "--wait")
        endpoints = {
            release: cluster.kubectl(
                *("get", "endpointslices", "-n", NAMESPACE, "-o", "jsonpath={.items[*].endpoints[*].targetRef.name}"),
                *("-l", f"app.kubernetes.io/instance={release},app.kubernetes.io/component=server"),
            ).split()
            for release in (RELEASE, "other")
        }
        assert [len(pods) for pods in endpoints.values()] == [2, 2]
        assert not set(endpoints[RELEASE]) & set(endpoints["other"])
    finally:
        helm(cluster, "helm4", "uninstall", "other", "--ignore-not-found", "--wait")
