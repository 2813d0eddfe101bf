"""Every pod satisfies the profile `restricted`, judged by the code of Kubernetes itself (podsecurity/main.go)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable
from copy import deepcopy

import pytest

from tests.chart.invariants import pods
from tests.chart.matrix import TOGGLES
from tests.chart.rendering import PROFILES, Rendered, render
from tests.chart.schemas import Object
from tests.chart.tools import POD_SECURITY


def forbidden(named_pods: Iterable[tuple[str, Object]]) -> dict[str, str]:
    """Name of each pod that `restricted` does not admit -> its violations."""
    if not POD_SECURITY.exists():
        pytest.skip(f"no {POD_SECURITY}: run `make chart`, which builds it")
    text = "\n".join(
        json.dumps({"name": name, "pod": {"metadata": pod.get("metadata", {}), "spec": pod["spec"]}})
        for name, pod in named_pods
    )
    done = subprocess.run([str(POD_SECURITY)], input=text, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    found = dict(line.split("\t", 1) for line in done.stdout.splitlines())
    assert bool(found) == bool(done.returncode)
    return found


def all_pods(rendered: dict[str, Rendered]) -> list[tuple[str, Object]]:
    return [(f"{name}/{who}", pod) for name, objects in rendered.items() for who, pod in pods(objects)]


def test_every_pod_of_every_profile_is_admitted() -> None:
    found = all_pods({profile: render(profile=profile) for profile in PROFILES})
    assert len(found) > 3 * len(PROFILES) - 3  # the server and the two tests; one profile has no tests
    assert forbidden(found) == {}


def test_every_pod_is_admitted_when_any_option_is_on() -> None:
    assert forbidden(all_pods({name: render(values) for name, values in TOGGLES.items()})) == {}


def _pod(change: Callable[[Object], object]) -> Callable[[Object], object]:
    return lambda spec: change(spec["securityContext"])


def _container(change: Callable[[Object], object]) -> Callable[[Object], object]:
    return lambda spec: change(spec["containers"][0]["securityContext"])


# One violation of each control, and the word of Kubernetes for it.
# https://kubernetes.io/docs/concepts/security/pod-security-standards/
VIOLATIONS: dict[str, tuple[Callable[[Object], object], str]] = {
    "host-network": (lambda spec: spec.update(hostNetwork=True), "host namespaces"),
    "host-process": (_container(lambda own: own.update(windowsOptions={"hostProcess": True})), "hostProcess"),
    "privileged": (_container(lambda own: own.update(privileged=True)), "privileged"),
    "capability-added": (_container(lambda own: own["capabilities"].update(add=["SYS_ADMIN"])), "capabilities"),
    "capabilities-kept": (_container(lambda own: own["capabilities"].pop("drop")), "unrestricted capabilities"),
    "host-path": (lambda spec: spec["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "hostPath"),
    "volume-type": (
        lambda spec: spec["volumes"].append({"name": "x", "nfs": {"server": "a", "path": "/"}}),
        "restricted volume types",
    ),
    "host-port": (lambda spec: spec["initContainers"][-1]["ports"][0].update(hostPort=8000), "hostPort"),
    "app-armor": (_container(lambda own: own.update(appArmorProfile={"type": "Unconfined"})), "AppArmor"),
    "selinux": (_pod(lambda own: own.update(seLinuxOptions={"user": "root"})), "seLinuxOptions"),
    "proc-mount": (_container(lambda own: own.update(procMount="Unmasked")), "procMount"),
    "seccomp-off": (_pod(lambda own: own.update(seccompProfile={"type": "Unconfined"})), "seccompProfile"),
    "seccomp-absent": (_pod(lambda own: own.pop("seccompProfile")), "seccompProfile"),
    "sysctl": (_pod(lambda own: own.update(sysctls=[{"name": "kernel.msgmax", "value": "1"}])), "sysctls"),
    "escalation": (_container(lambda own: own.pop("allowPrivilegeEscalation")), "allowPrivilegeEscalation"),
    "root-allowed": (_pod(lambda own: own.pop("runAsNonRoot")), "runAsNonRoot"),
    "root-user": (_pod(lambda own: own.update(runAsUser=0)), "runAsUser=0"),
}


@pytest.mark.parametrize("violation", VIOLATIONS)
def test_violation_is_found(violation: str) -> None:
    plant, word = VIOLATIONS[violation]
    pod = deepcopy(render().pod())
    plant(pod["spec"])
    assert word in forbidden([("planted", pod)])["planted"]


def test_violation_of_an_init_container_is_found() -> None:
    pod = deepcopy(render(TOGGLES["repository-s3"]).pod())
    pod["spec"]["initContainers"][0].pop("securityContext")
    assert "fetch-release" in forbidden([("planted", pod)])["planted"]
