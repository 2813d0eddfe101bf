"""The pod of every kind of workload: security, drain, probes, resources, and source of the models."""

from __future__ import annotations

import pytest

from tests.chart.invariants import pods
from tests.chart.matrix import DIGEST, OTHER_DIGEST, TOGGLES, merged
from tests.chart.rendering import PROFILES, Values, render
from tests.chart.schemas import Object

REPOSITORIES = [name for name in TOGGLES if name.startswith("repository-")]
SHORT = DIGEST.removeprefix("sha256:")[:12]


def arguments(values: Values) -> list[str]:
    return render(values).server()["args"]  # type: ignore[no-any-return]


def mount(values: Values, path: str) -> Object:
    (found,) = [mount for mount in render(values).server()["volumeMounts"] if mount["mountPath"] == path]
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "toggle", ["defaults", "front-off", "statefulset", "rollout", "gpu", "load-test", *REPOSITORIES]
)
def test_every_container_runs_without_privileges(toggle: str) -> None:
    for _, pod in pods(render(TOGGLES[toggle])):
        security = pod["spec"]["securityContext"]
        assert (security["runAsNonRoot"], security["runAsUser"]) == (True, 1000)
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]


@pytest.mark.parametrize("toggle", ["load-test", *REPOSITORIES])
def test_describe_shows_the_log_of_a_failed_container(toggle: str) -> None:
    for _, pod in pods(render(TOGGLES[toggle])):
        for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]):
            assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"


def test_platform_chooses_the_user_when_the_values_leave_it_out() -> None:
    security = render(TOGGLES["platform-user"]).pod()["spec"]["securityContext"]
    assert not {"runAsUser", "runAsGroup", "fsGroup"} & set(security)
    assert security["runAsNonRoot"] is True


def test_shared_memory_is_memory_of_a_size() -> None:
    volumes = {volume["name"]: volume for volume in render().pod()["spec"]["volumes"]}
    assert volumes["shm"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "1Gi"}
    assert volumes["tmp"]["emptyDir"] == {"sizeLimit": "512Mi"}
    assert mount({}, "/dev/shm")["name"] == "shm"


@pytest.mark.parametrize("profile", [None, *PROFILES])
def test_pod_has_time_to_drain(profile: str | None) -> None:
    rendered = render(profile=profile)
    sleep = rendered.server().get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    (exit_timeout,) = [word.partition("=")[2] for word in rendered.server()["args"] if "exit-timeout" in word]
    assert rendered.pod()["spec"]["terminationGracePeriodSeconds"] >= sleep + int(exit_timeout) + 5


def test_probes_ask_whether_every_model_is_ready() -> None:
    server = render(TOGGLES["front-off"]).server()
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[probe]["httpGet"] == {"path": "/v2/health/ready", "port": "http"}
    server = render().server()
    for probe in ("startupProbe", "readinessProbe"):
        assert server[probe]["httpGet"] == {"path": "/v2/health/ready", "port": 8000}
    assert "http://127.0.0.1:18000/v2/health/ready" in server["livenessProbe"]["exec"]["command"]
    assert server["startupProbe"]["failureThreshold"] * server["startupProbe"]["periodSeconds"] == 600


@pytest.mark.parametrize(
    ("version", "mode", "is_deep"),
    [("26.04", "auto", False), ("26.03", "auto", True), ("26.04", "always", True), ("25.12", "never", False)],
)
def test_deep_probe_takes_the_place_of_liveness_when_readiness_misses_a_dead_model(
    version: str, mode: str, is_deep: bool
) -> None:
    values = {"triton": {"version": version, "metrics": {"histograms": False}}, "probes": {"deep": {"mode": mode}}}
    for front, url in ((True, "http://127.0.0.1:18000"), (False, "http://127.0.0.1:8000")):
        liveness = render(merged(values, {"front": {"enabled": front}})).server()["livenessProbe"]
        command = liveness.get("exec", {}).get("command", [])
        assert ("/opt/triptych/scripts/send_photos.py" in command) is is_deep
        assert url in command or not is_deep


@pytest.mark.parametrize("toggle", TOGGLES)
def test_server_never_polls_and_never_guesses_a_config(toggle: str) -> None:
    found = arguments(TOGGLES[toggle])
    assert "--model-control-mode=none" in found
    assert "--disable-auto-complete-config" in found
    assert not [word for word in found if "poll" in word]
    settings = [word.split("=")[0] for word in found if not word.startswith(("--metrics-config", "--trace-config"))]
    assert len(set(settings)) == len(settings)


@pytest.mark.parametrize("toggle", ["defaults", "restricted-key"])
def test_key_of_restricted_apis_is_not_in_the_spec(toggle: str) -> None:
    server = render(TOGGLES[toggle]).server()
    restricted = [word for word in server["args"] if "restricted" in word]
    assert [word.split("=")[0] for word in restricted] == ["--http-restricted-api", "--grpc-restricted-protocol"]
    assert all(word.endswith(":triptych-key=@KEY@") for word in restricted)
    assert "/opt/triptych/scripts/start_server.py" in server["command"]
    assert server["command"][-1] == "tritonserver"


@pytest.mark.parametrize("toggle", TOGGLES)
def test_nothing_that_others_can_read_is_a_key(toggle: str) -> None:
    """Fields of the pod, such as its UID, are in the API and in the metrics of kube-state-metrics."""
    server = render(TOGGLES[toggle]).server()
    sources = [variable.get("valueFrom", {}) for variable in server["env"]]
    assert not [source for source in sources if "fieldRef" in source]
    assert "KEY" not in " ".join(variable["name"] for variable in server["env"] if "value" not in variable)


def test_key_of_a_secret_is_a_file_of_that_key_alone() -> None:
    values = TOGGLES["restricted-key"]
    assert render(values).server()["command"][-3:] == ["--key-file", "/etc/triptych/admin/key", "tritonserver"]
    assert mount(values, "/etc/triptych/admin")["readOnly"] is True
    (volume,) = [each for each in render(values).pod()["spec"]["volumes"] if each["name"] == "admin-key"]
    assert volume["secret"] == {
        "secretName": "triton-key",
        "items": [{"key": "key", "path": "key"}],
        "defaultMode": 0o440,
    }


def test_nothing_is_restricted_when_the_values_restrict_nothing() -> None:
    server = render(TOGGLES["restricted-none"]).server()
    assert not [word for word in server["args"] if "restricted" in word]
    assert server["command"] == ["tritonserver"]
    assert "admin-key" not in str(render(merged(TOGGLES["restricted-key"], TOGGLES["restricted-none"])).pod())


def test_mutual_tls_asks_callers_for_a_certificate() -> None:
    assert "--grpc-use-ssl-mutual=true" in arguments(TOGGLES["front-off-tls"])
    assert mount(TOGGLES["front-off-tls"], "/etc/triptych/tls")["readOnly"] is True


@pytest.mark.parametrize(
    ("toggle", "resource"),
    [("gpu", "nvidia.com/gpu"), ("gpu-mig", "nvidia.com/mig-1g.10gb"), ("gpu-engine-claim", "nvidia.com/gpu")],
)
def test_gpu_is_a_limit_beside_the_memory(toggle: str, resource: str) -> None:
    assert render(TOGGLES[toggle]).server()["resources"]["limits"] == {"memory": "3Gi", resource: 1}


def test_gpu_is_absent_by_default() -> None:
    assert "nvidia" not in render().text


@pytest.mark.parametrize("toggle", REPOSITORIES)
def test_models_are_read_only_and_checked_against_their_digest(toggle: str) -> None:
    assert mount(TOGGLES[toggle], "/models")["readOnly"] is True
    assert list(render(TOGGLES[toggle]).init_containers())[-2:] == ["verify-release", "front"]
    assert render(TOGGLES[toggle]).init_containers()["verify-release"]["args"] == ["/models", DIGEST]
    unchecked = merged(TOGGLES[toggle], {"modelRepository": {"verify": False}})
    assert "verify-release" not in render(unchecked).init_containers()


def test_pod_mounts_no_models_when_the_image_contains_them() -> None:
    assert "/models" not in [mount["mountPath"] for mount in render().server()["volumeMounts"]]
    assert list(render().init_containers()) == ["front"]
    assert "initContainers" not in render(TOGGLES["front-off"]).pod()["spec"]


@pytest.mark.parametrize("toggle", ["defaults", "statefulset", "rollout", *REPOSITORIES])
def test_models_import_the_package_of_the_release_that_is_served(toggle: str) -> None:
    """Triton serves the models of the release, and its stubs, isolated or not, import the package of the release."""
    server = render(TOGGLES[toggle]).server()
    assert "--model-repository=/models/models" in server["args"]
    assert server["workingDir"] == "/models"
    assert {"name": "PYTHONPATH", "value": "/models"} in server["env"]


@pytest.mark.parametrize("toggle", REPOSITORIES)
def test_new_digest_makes_new_pods(toggle: str) -> None:
    new = merged(TOGGLES[toggle], {"modelRepository": {"release": OTHER_DIGEST}})
    assert render(new).pod() != render(TOGGLES[toggle]).pod()
    assert render(new).pod()["metadata"]["annotations"]["triptych-release"] == OTHER_DIGEST


@pytest.mark.parametrize(
    ("toggle", "source"),
    [
        ("repository-s3", f":s3:models/releases/efficientnet-lite0-{SHORT}"),
        ("repository-s3-compatible", f":s3:models/a/b/releases/efficientnet-lite0-{SHORT}"),
        ("repository-gcs", f":gcs:models/releases/efficientnet-lite0-{SHORT}"),
    ],
)
def test_bucket_is_read_at_the_folder_of_the_release(toggle: str, source: str) -> None:
    fetch = render(TOGGLES[toggle]).pod()["spec"]["initContainers"][0]
    assert fetch["args"][-2:] == [source, "/models"]


def test_claim_is_mounted_at_the_folder_of_the_release() -> None:
    assert mount(TOGGLES["repository-pvc"], "/models")["subPath"] == f"shop/releases/efficientnet-lite0-{SHORT}"


def test_image_is_named_by_digest_when_there_is_one() -> None:
    image = render(TOGGLES["image-digest"]).server()["image"]
    assert image.startswith("registry.example:5000/triptych:")
    assert image.endswith(f"@{DIGEST}")


def test_scheduling_is_that_of_the_values() -> None:
    spec = render(TOGGLES["scheduling"]).pod()["spec"]
    for key in ("nodeSelector", "tolerations", "affinity", "priorityClassName", "schedulerName"):
        assert spec[key] == TOGGLES["scheduling"][key]
    assert "topologySpreadConstraints" not in spec


def test_pods_spread_over_zones_and_nodes_by_default() -> None:
    keys = [constraint["topologyKey"] for constraint in render().pod()["spec"]["topologySpreadConstraints"]]
    assert keys == ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]


def test_labels_and_annotations_of_the_values_reach_the_pod() -> None:
    metadata = render(TOGGLES["labels"]).pod()["metadata"]
    assert metadata["labels"]["team"] == "shop"
    assert metadata["labels"]["cost-centre"] == "42"
    assert metadata["annotations"]["note"] == "yes"
