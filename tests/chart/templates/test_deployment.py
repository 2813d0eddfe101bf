"""deployment.yaml: the default controller of the server."""

from __future__ import annotations

from ops.settings import REPOSITORY
from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import render

PACKAGE = REPOSITORY / "triptych_models"


def test_deployment_is_the_workload_by_default() -> None:
    deployment = render().one("Deployment")
    assert deployment["apiVersion"] == "apps/v1"
    assert deployment["spec"]["replicas"] == 2
    assert not render(TOGGLES["statefulset"]).all("Deployment")


def test_rollout_adds_a_pod_before_it_takes_one_away() -> None:
    strategy = render().one("Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}


def test_replicas_are_left_to_the_autoscaler_when_there_is_one() -> None:
    assert "replicas" not in render(TOGGLES["hpa"]).one("Deployment")["spec"]
    assert "replicas" not in render(TOGGLES["keda"]).one("Deployment")["spec"]


def test_settings_of_the_workload_reach_the_deployment() -> None:
    values = {"workload": {"replicas": 7, "revisionHistoryLimit": 3, "minReadySeconds": 11, "maxSurge": "25%"}}
    spec = render(merged(values, {"workload": {"progressDeadlineSeconds": 777}})).one("Deployment")["spec"]
    assert (spec["replicas"], spec["revisionHistoryLimit"], spec["minReadySeconds"]) == (7, 3, 11)
    assert spec["progressDeadlineSeconds"] == 777
    assert spec["strategy"]["rollingUpdate"]["maxSurge"] == "25%"


def test_selector_is_the_same_whatever_is_labelled() -> None:
    assert (
        render().one("Deployment")["spec"]["selector"]
        == render(TOGGLES["labels"]).one("Deployment")["spec"]["selector"]
    )


def test_pods_of_a_deployment_share_the_catalogue_of_a_cluster() -> None:
    rendered = render(TOGGLES["catalogue-weaviate"])
    assert rendered.one("Deployment")["spec"]["replicas"] == 2
    environment = {one["name"]: one.get("value") for one in rendered.server()["env"]}
    assert {name: value for name, value in environment.items() if name.startswith("TRIPTYCH_CATALOGUE")} == {
        "TRIPTYCH_CATALOGUE_KEY_FILE": "/etc/triptych/catalogue/key",
        "TRIPTYCH_CATALOGUE_WEAVIATE": "http://weaviate:8080",
        "TRIPTYCH_CATALOGUE_WEAVIATE_GRPC": "50052",
        "TRIPTYCH_CATALOGUE_WEAVIATE_REPLICAS": "3",
        "TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE": "/etc/triptych/weaviate/api",
    }
    volumes = {volume["name"]: volume for volume in rendered.pod()["spec"]["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in rendered.server()["volumeMounts"]}
    for name, secret, folder in (
        ("catalogue-key", "catalogue-key", "/etc/triptych/catalogue"),
        ("weaviate-key", "weaviate-key", "/etc/triptych/weaviate"),
    ):
        assert volumes[name]["secret"] == {"secretName": secret, "defaultMode": 0o440}
        assert mounts[name] == folder
    assert "catalogue" not in volumes


def test_names_of_the_cluster_s_settings_are_those_the_server_reads() -> None:
    source = "".join(file.read_text() for file in PACKAGE.rglob("*.py"))
    names = {one["name"] for one in render(TOGGLES["catalogue-weaviate"]).server()["env"]}
    asked = {name for name in names if name.startswith("TRIPTYCH_CATALOGUE")}
    assert len(asked) == 5
    assert all(f'"{name}"' in source for name in asked)
