"""resourceclaimtemplate.yaml: a GPU from Dynamic Resource Allocation."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES
from tests.chart.rendering import render


def test_claim_is_absent_when_the_device_plugin_provides_the_gpu() -> None:
    assert not render(TOGGLES["gpu"]).all("ResourceClaimTemplate")


def test_pod_and_server_use_the_claim() -> None:
    rendered = render(TOGGLES["gpu-dra"])
    claim = rendered.one("ResourceClaimTemplate")
    assert rendered.pod()["spec"]["resourceClaims"] == [
        {"name": "gpu", "resourceClaimTemplateName": claim["metadata"]["name"]}
    ]
    assert rendered.server()["resources"]["claims"] == [{"name": "gpu"}]
    assert "nvidia.com/gpu" not in rendered.server()["resources"]["limits"]


def test_claim_asks_for_what_the_values_say() -> None:
    (request,) = render(TOGGLES["gpu-dra"]).one("ResourceClaimTemplate")["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"]["deviceClassName"] == "gpu.nvidia.com"
    assert request["exactly"]["count"] == 1
    assert [selector["cel"]["expression"] for selector in request["exactly"]["selectors"]] == (
        TOGGLES["gpu-dra"]["gpu"]["dra"]["selectors"]
    )
