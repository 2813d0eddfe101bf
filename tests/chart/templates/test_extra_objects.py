"""extra-objects.yaml: objects of the user."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES
from tests.chart.rendering import render


def test_extra_objects_come_as_they_are_or_as_templates() -> None:
    rendered = render(TOGGLES["extras"])
    assert rendered.one("ConfigMap", "more")["data"] == {"a": "b"}
    assert rendered.one("ConfigMap", "-templated")["metadata"]["name"] == "shop-templated"


def test_extras_of_the_pod_stand_beside_the_chart_s_own() -> None:
    rendered = render(TOGGLES["extras"])
    assert [container["name"] for container in rendered.pod()["spec"]["containers"]] == ["triton", "beside"]
    assert rendered.pod()["spec"]["initContainers"][0]["name"] == "first"
    assert {"name": "MODE", "value": "1"} in rendered.server()["env"]
    assert rendered.server()["envFrom"] == [{"configMapRef": {"name": "more", "optional": True}}]
    assert {"name": "more", "mountPath": "/more"} in rendered.server()["volumeMounts"]
