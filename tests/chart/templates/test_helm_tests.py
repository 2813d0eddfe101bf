"""tests/ready.yaml and tests/recognize.yaml: the pods of `helm test`."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import NAMESPACE, render


def test_there_are_two_tests_unless_they_are_off() -> None:
    pods = render().all("Pod")
    assert sorted(pod["metadata"]["name"] for pod in pods) == [
        "shop-triptych-test-ready",
        "shop-triptych-test-recognize",
    ]
    assert not render(TOGGLES["tests-off"]).all("Pod")


def test_tests_are_hooks_that_replace_their_previous_run() -> None:
    for pod in render().all("Pod"):
        assert pod["metadata"]["annotations"]["helm.sh/hook"] == "test"
        assert "before-hook-creation" in pod["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert pod["spec"]["restartPolicy"] == "Never"
        assert pod["spec"]["activeDeadlineSeconds"] == 60


def test_tests_call_the_service_on_its_port() -> None:
    for pod in render(merged({"service": {"httpPort": 81}})).all("Pod"):
        assert f"http://shop-triptych.{NAMESPACE}.svc:81" in " ".join(pod["spec"]["containers"][0]["command"])


def test_tests_run_the_image_of_the_server() -> None:
    rendered = render(TOGGLES["image-digest"])
    for pod in rendered.all("Pod"):
        assert pod["spec"]["containers"][0]["image"] == rendered.server()["image"]
        assert pod["spec"]["imagePullSecrets"] == [{"name": "registry"}]
