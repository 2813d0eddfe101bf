"""The environment of a run: machine, versions, commit, date and load of the machine."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import datetime, timezone
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from loadtest.files import ROOT

# The load-test image has no packages of the server.
_VERSIONED = {
    "nvidia-pytriton", "onnxruntime", "pillow", "numpy", "grpcio", "tritonclient", "fastapi", "uvicorn", "locust",
    "gevent",
}  # fmt: skip


def describe_environment() -> dict[str, Any]:
    """The fields that every report begins with."""
    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "commit": _commit(),
        # Runnable processes before the run: above the number of cores, other programs used the machine.
        "load_before": round(os.getloadavg()[0], 1),
        "machine": {"cpu": _processor(), "cores": len(os.sched_getaffinity(0)), "python": platform.python_version()},
        "versions": {each.name: each.version for each in distributions() if each.name in _VERSIONED},
    }


def format_environment(report: dict[str, Any]) -> str:
    """Machine, date and commit of a report, in one line."""
    machine = report["machine"]
    return f"{machine['cpu']}, {machine['cores']} cores, {report['date']}, commit {report['commit']}"


def _commit() -> str | None:
    """None outside of a clone, as in an image."""
    words = ["git", "describe", "--always", "--dirty"]
    try:
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip() or None
    except FileNotFoundError:
        return None


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
