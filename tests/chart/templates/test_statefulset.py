"""statefulset.yaml: pods with stable names, and the volume of the catalogue."""

from __future__ import annotations

from copy import deepcopy

from tests.chart.matrix import TOGGLES
from tests.chart.rendering import render


def test_statefulset_is_governed_by_the_headless_service() -> None:
    rendered = render(TOGGLES["statefulset"])
    governing = rendered.one("Service", "-headless")
    assert rendered.one("StatefulSet")["spec"]["serviceName"] == governing["metadata"]["name"]


def test_pods_start_together() -> None:
    assert render(TOGGLES["statefulset"]).one("StatefulSet")["spec"]["podManagementPolicy"] == "Parallel"


def test_pod_is_that_of_the_deployment_but_for_the_hash_it_spreads_by() -> None:
    stateful, deployed = render(TOGGLES["statefulset"]).pod(), deepcopy(render().pod())
    for constraint in deployed["spec"]["topologySpreadConstraints"]:
        assert constraint.pop("matchLabelKeys") == ["pod-template-hash"]
    assert stateful == deployed


def test_catalogue_is_on_a_claim_that_outlives_the_release() -> None:
    spec = render(TOGGLES["catalogue"]).one("StatefulSet")["spec"]
    (claim,) = spec["volumeClaimTemplates"]
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}
    assert claim["spec"] == {"accessModes": ["ReadWriteOncePod"], "resources": {"requests": {"storage": "20Gi"}}}
    (mount,) = [one for one in render(TOGGLES["catalogue"]).server()["volumeMounts"] if one["name"] == "catalogue"]
    assert mount["name"] == claim["metadata"]["name"]
    environment = {one["name"]: one.get("value") for one in render(TOGGLES["catalogue"]).server()["env"]}
    assert environment["TRIPTYCH_CATALOGUE_DIR"].startswith(mount["mountPath"] + "/")


def test_claim_has_the_size_and_class_of_the_values() -> None:
    (claim,) = render(TOGGLES["catalogue-class"]).one("StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "fast",
        "resources": {"requests": {"storage": "100Gi"}},
    }


def test_claim_that_is_there_is_used_and_none_is_made() -> None:
    rendered = render(TOGGLES["catalogue-claim"])
    assert "volumeClaimTemplates" not in rendered.one("StatefulSet")["spec"]
    volumes = {volume["name"]: volume for volume in rendered.pod()["spec"]["volumes"]}
    assert volumes["catalogue"]["persistentVolumeClaim"] == {"claimName": "products"}


def test_key_of_the_catalogue_is_a_mounted_secret_and_no_value() -> None:
    rendered = render(TOGGLES["catalogue-claim"])
    volumes = {volume["name"]: volume for volume in rendered.pod()["spec"]["volumes"]}
    assert volumes["catalogue-key"]["secret"] == {"secretName": "catalogue-key", "defaultMode": 0o440}
    (mount,) = [one for one in rendered.server()["volumeMounts"] if one["name"] == "catalogue-key"]
    assert "subPath" not in mount  # with a subPath, Kubernetes would not update the key
    environment = {one["name"]: one.get("value") for one in rendered.server()["env"]}
    assert environment["TRIPTYCH_CATALOGUE_KEY_FILE"] == f"{mount['mountPath']}/writers"


def test_catalogue_is_absent_by_default() -> None:
    names = {one["name"] for one in render(TOGGLES["statefulset"]).server()["env"]}
    assert not any(name.startswith("TRIPTYCH_CATALOGUE") for name in names)
