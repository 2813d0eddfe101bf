"""What the chart carries or repeats of other rooms is what they say."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from ops.packaging.chart_files import CHART, derive, find_differences
from ops.settings import ROOT

VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


def test_derived_files_are_as_generated() -> None:
    files = derive()
    assert {path.suffix for path in files} == {".yaml", ".json"}
    assert [str(path.relative_to(ROOT)) for path in find_differences(files)] == []


def test_scrape_has_the_job_that_the_rules_select() -> None:
    job = yaml.safe_load((ROOT / "ops/slo.yaml").read_text(encoding="utf-8"))["job"]
    queries = (CHART / "templates/_queries.tpl").read_text(encoding="utf-8")
    assert f'define "triptych.job" -}}}}{job}{{{{' in queries


def test_image_and_chart_are_of_one_triton() -> None:
    dockerfile = (ROOT / "ops/packaging/image/Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^ARG TRITON_VERSION=(\S+)", dockerfile, re.MULTILINE) == [VALUES["triton"]["version"]]


def test_restricted_and_exposed_apis_are_tritons() -> None:
    """Every name the schema lets through is one that the server knows; it would not start with another."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    apis = schema["properties"]["triton"]["properties"]["restrictedApis"]["properties"]["apis"]["items"]["enum"]
    # Source: `tritonserver --help`, 2.51.0.
    known = "health, metadata, inference, shared-memory, model-config, model-repository, statistics, trace, logging"
    assert apis == known.split(", ")


@pytest.mark.parametrize("metric", ["nv_inference_request_duration_us", "nv_inference_queue_duration_us"])
def test_adapter_and_scalers_ask_for_the_same_metrics(metric: str) -> None:
    adapter = (CHART / "docs/prometheus-adapter.yaml").read_text(encoding="utf-8")
    names = [rule["name"]["as"] for rule in yaml.safe_load(adapter)["rules"]]
    hpa = VALUES["autoscaling"]["hpa"]
    assert names == [hpa["inFlightMetric"], hpa["queueWaitMetric"]]
    assert metric in adapter
    assert metric in (CHART / "templates/_queries.tpl").read_text(encoding="utf-8")


def test_every_value_is_used_by_a_template() -> None:
    templates = "".join(path.read_text(encoding="utf-8") for path in sorted((CHART / "templates").rglob("*.*")))
    unused = [path for path in leaves(VALUES) if path.rpartition(".")[2] not in templates and not is_passed_on(path)]
    assert unused == []


def leaves(values: dict[str, object], parent: str = "") -> list[str]:
    paths = []
    for key, value in values.items():
        is_group = isinstance(value, dict) and value
        paths += leaves(value, f"{parent}{key}.") if is_group else [f"{parent}{key}"]  # type: ignore[arg-type]
    return paths


def is_passed_on(path: str) -> bool:
    """Groups that go into an object as they are, because their keys are Kubernetes' own."""
    whole = ("probes.", "podSecurityContext.", "containerSecurityContext.", "resources.", "autoscaling.hpa.behavior.")
    return path.startswith(whole) or ".resources." in path or ".labels." in path


def test_ci_values_parse_and_say_what_they_are_for() -> None:
    files = sorted(Path(CHART / "ci").glob("values-*.yaml"))
    assert {"values-cpu.yaml", "values-gpu.yaml", "values-autoscaled.yaml", "values-hardened.yaml"} <= {
        file.name for file in files
    }
    for file in files:
        assert file.read_text(encoding="utf-8").startswith("# "), file.name
        assert yaml.safe_load(file.read_text(encoding="utf-8"))
