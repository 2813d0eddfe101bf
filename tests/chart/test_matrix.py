"""Every set of values renders valid, consistent objects with both Helms and the oldest and newest Kubernetes."""

from __future__ import annotations

import pytest

from tests.chart.invariants import inconsistencies
from tests.chart.matrix import TOGGLES
from tests.chart.rendering import (
    CHART,
    NAMESPACE,
    PROFILES,
    RELEASE,
    needs_crds,
    oldest_kube_version,
    render,
    run_helm,
)
from tests.chart.schemas import kube_versions
from tests.chart.tools import HELMS

NEWEST = kube_versions()[-1]
# First Kubernetes version for values that the chart refuses on older ones (tests/chart/test_validation.py).
NEEDS = {"repository-oci": "1.35.0", "oci-volume": "1.35.0", "gpu-dra": "1.34.0", "service-zones": "1.34.0"}
LONG = "a-release-name-as-long-as-helm-lets-it-be-is-53-chars"


@pytest.fixture(autouse=True)
def _crds() -> None:
    needs_crds()


def kube_versions_of(case: str) -> tuple[str, str]:
    return NEEDS.get(case, oldest_kube_version()), NEWEST


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("toggle", TOGGLES)
def test_objects_are_valid_and_agree(toggle: str, helm: str) -> None:
    for kube_version in kube_versions_of(toggle):
        rendered = render(TOGGLES[toggle], helm=helm, kube_version=kube_version)
        assert inconsistencies(rendered, kube_version) == []


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("profile", PROFILES)
def test_profile_is_valid_and_agrees(profile: str, helm: str) -> None:
    for kube_version in kube_versions_of(profile):
        assert inconsistencies(render(profile=profile, helm=helm, kube_version=kube_version), kube_version) == []


@pytest.mark.parametrize("toggle", TOGGLES)
def test_both_helms_render_the_same(toggle: str) -> None:
    helm3, helm4 = (render(TOGGLES[toggle], helm=helm) for helm in HELMS)
    assert sorted(map(repr, helm3)) == sorted(map(repr, helm4))


@pytest.mark.parametrize("toggle", TOGGLES)
def test_names_fit_and_differ_when_two_long_releases_share_a_namespace(toggle: str) -> None:
    assert len(LONG) == 53  # Helm's own limit
    first, second = (render(TOGGLES[toggle], release=release) for release in (LONG, LONG[:-1] + "z"))
    assert inconsistencies(first, NEWEST) == []
    shared = set(first.names()) & set(second.names())
    # Names that the values set may be equal: an override, an account, objects of the user.
    assert toggle in ("names", "extras", "rules", "dashboards") or not shared
    if toggle not in ("names",):
        selector = first.workload()["spec"]["selector"]["matchLabels"]
        assert not selector.items() <= second.pod()["metadata"]["labels"].items()


@pytest.mark.parametrize("helm", HELMS)
@pytest.mark.parametrize("profile", [None, *PROFILES])
def test_lint_finds_nothing(profile: str | None, helm: str) -> None:
    values = ("--values", str(PROFILES[profile])) if profile else ()
    done = run_helm(helm, "lint", "--strict", str(CHART), "--namespace", NAMESPACE, *values)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "[WARNING]" not in done.stdout
    assert "[ERROR]" not in done.stdout


def test_profiles_hold_those_that_were_promised() -> None:
    assert set(PROFILES) >= {"cpu", "gpu", "autoscaled", "hardened"}


def notes(*arguments: str) -> str:
    done = run_helm("helm4", "install", RELEASE, str(CHART), "--dry-run=client", "--namespace", NAMESPACE, *arguments)
    assert done.returncode == 0, done.stderr
    return " ".join(done.stdout.partition("NOTES:")[2].split())


@pytest.mark.parametrize("profile", PROFILES)
def test_network_policy_of_the_profile_admits_the_gateway(profile: str) -> None:
    assert "a gateway in another namespace cannot connect" not in notes("--values", str(PROFILES[profile]))


@pytest.mark.parametrize(
    "values",
    [
        "ingress.enabled=true,ingress.hosts={a.example}",
        "gatewayApi.grpcRoute.enabled=true,gatewayApi.grpcRoute.parentRefs[0].name=public",
    ],
)
def test_notes_warn_when_the_network_policy_excludes_the_gateway(values: str) -> None:
    assert "a gateway in another namespace cannot connect" in notes("--set", values)


def test_notes_warn_of_the_alert_when_there_may_be_no_pod() -> None:
    assert "TriptychAbsent" in notes("--values", str(PROFILES["keda"]))
    assert "TriptychAbsent" not in notes()


def test_notes_say_how_to_call_the_release() -> None:
    said = notes()
    name = render().workload()["metadata"]["name"]
    assert f"port-forward -n {NAMESPACE}" in said or f"-n {NAMESPACE} port-forward" in said
    assert name in said
    assert "triptych recognize" in said
