"""Paths inside the checkout, and the JSON files that commands read and write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from loadtest.errors import LoadTestError

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = ROOT / ".cache/photos"
SLO_FILE = ROOT / "ops/slo.yaml"
BASELINE_FILE = ROOT / "loadtest/baseline.json"
CURVE_FILE = ROOT / "loadtest/curve-cpu-2-cores.json"


def read_report(file: Path) -> Any:
    """A report that a command wrote with --json.

    Raises:
        LoadTestError: the file cannot be read or is not JSON.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadTestError(
            f"Cannot read {file} as a report ({error}). Expected a JSON file that a loadtest command wrote with --json."
        ) from error


def write_json(content: Any, file: Path) -> None:
    """Writes indented JSON."""
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
