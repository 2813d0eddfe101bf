"""One run of the bench as JSON: the figures, and what they were measured on."""

from __future__ import annotations

import http.client
import importlib.metadata
import json
import os
import platform
import subprocess
import urllib.request
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from loadtest.bench import Scenario
from loadtest.errors import LoadTestError

STAGES = ("queue", "compute_input", "compute_infer", "compute_output")
Totals = dict[str, dict[str, int]]

_VERSIONED = (
    "nvidia-pytriton",
    "onnxruntime",
    "pillow",
    "numpy",
    "grpcio",
    "tritonclient",
    "fastapi",
    "uvicorn",
    "locust",
    "gevent",
    "mlcommons-loadgen",
)


def describe_run(root: Path) -> dict[str, Any]:
    """Machine, versions, commit, date, and what else the machine was doing when the run began."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": _commit(root),
        # Runnable processes before the first photo: far above 0, and the figures are of a shared machine.
        "load_before": round(os.getloadavg()[0], 1),
        "machine": {"cpu": _processor(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()},
        "versions": {name: found for name in _VERSIONED if (found := _version(name)) is not None},
    }


def _commit(root: Path) -> str | None:
    """None outside of a clone, as in an image."""
    words = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(words, cwd=root, capture_output=True, text=True, check=False).stdout.strip() or None
    except FileNotFoundError:
        return None


def _version(name: str) -> str | None:
    """None where it is not installed: an image that loads another machine's server has no server's packages."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe_scenario(scenario: Scenario) -> dict[str, Any]:
    """Title and rows."""
    return {"title": scenario.title, "by_latency": scenario.by_latency, "rows": scenario.rows()}


def stage_totals(http_address: str) -> Totals:
    """What Triton has counted since its start: model -> requests, and nanoseconds of each stage.

    Raises:
        LoadTestError: no Triton answers there.
    """
    try:
        with urllib.request.urlopen(f"http://{http_address}/v2/models/stats", timeout=10) as answer:
            models = json.loads(answer.read())["model_stats"]
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LoadTestError(
            f"No Triton server answers over HTTP at {http_address} ({error}). Start one with `make serve` and pass its "
            "addresses, or let `make bench` do all."
        ) from error
    return {
        model["name"]: {
            "requests": model["inference_stats"]["success"]["count"],
            **{stage: model["inference_stats"][stage]["ns"] for stage in STAGES},
        }
        for model in models
    }


def stage_means(before: Totals, after: Totals) -> dict[str, dict[str, float]]:
    """Model -> stage -> mean milliseconds a request between two totals, for the models that were asked."""
    grown = {name: {key: after[name][key] - before[name][key] for key in after[name]} for name in after}
    return {
        name: {stage: round(totals[stage] / 1e6 / totals["requests"], 3) for stage in STAGES}
        for name, totals in grown.items()
        if totals["requests"]
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
