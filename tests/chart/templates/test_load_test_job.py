"""load-test-job.yaml: a Job that runs a load test."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadtest.cli.main import main
from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import NAMESPACE, render


def test_job_is_absent_by_default() -> None:
    assert not render().all("Job")


def test_job_finds_the_server_by_its_variables() -> None:
    rendered = render(merged(TOGGLES["load-test"], {"service": {"httpPort": 81, "grpcPort": 82}}))
    (container,) = rendered.one("Job")["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    assert variables["TRIPTYCH_TARGET"] == f"shop-triptych.{NAMESPACE}.svc:82"
    assert variables["TRIPTYCH_HTTP_URL"] == f"http://shop-triptych.{NAMESPACE}.svc:81"
    assert variables["TRIPTYCH_METRICS_URL"].startswith(
        f"http://{rendered.one('Service', '-headless')['metadata']['name']}."
    )
    assert container["args"] == ["bench"]


def test_arguments_of_the_profile_are_valid_for_the_load_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 1: the arguments are valid, but the folder contains no photos. Wrong usage is 2."""
    monkeypatch.delenv("TRIPTYCH_SERVER_PID", raising=False)
    (container,) = render(profile="monitored").one("Job")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "loadtest"]
    assert "/photos" in container["args"]
    words = [str(tmp_path) if word == "/photos" else word for word in container["args"]]
    assert main(words) == 1


def test_job_is_not_retried_and_is_deleted() -> None:
    spec = render(TOGGLES["load-test"]).one("Job")["spec"]
    assert spec["backoffLimit"] == 0
    assert spec["activeDeadlineSeconds"] == 1800
    assert spec["ttlSecondsAfterFinished"] == 86400
    assert spec["template"]["spec"]["restartPolicy"] == "Never"


def test_job_has_a_name_for_each_revision() -> None:
    assert render(TOGGLES["load-test"]).one("Job")["metadata"]["name"].endswith("-load-1")  # a Job is immutable
