"""What a load test must hold: `ops/slo.yaml`, read as a file. The schema is `ops/objectives.py`, which checks it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from loadtest.errors import LoadTestError

SLO_FILE = Path(__file__).resolve().parents[1] / "ops/slo.yaml"


@dataclass(frozen=True)
class Objective:
    """Of one model.

    Attributes:
        availability: share of the calls that must be answered, 0.999 say.
        fast_share: share of the answers that must come in less than `under_s`.
    """

    model: str
    availability: float
    fast_share: float
    under_s: float

    def __str__(self) -> str:
        return (
            f"{self.model}: {self.availability:.2%} answered, {self.fast_share:.0%} of them in less than "
            f"{self.under_s * 1e3:g} ms"
        )


def read_objective(model: str = "recognizer", profile: str | None = "cpu", file: Path = SLO_FILE) -> Objective:
    """The objective of a model under a hardware profile; a profile without a bound of its own has the usual one.

    Raises:
        LoadTestError: the file cannot be read, or says nothing of the model.
    """
    try:
        content: Any = yaml.safe_load(file.read_text(encoding="utf-8"))
        own = content["models"][model]
        latency = own["latency"]
        under_ms = latency.get("profiles", {}).get(profile, latency["under_ms"])
        return Objective(
            model, own["availability"]["percent"] / 100, latency["percent"] / 100, under_s=float(under_ms) / 1e3
        )
    except (OSError, yaml.YAMLError) as error:
        raise LoadTestError(f"Cannot read the objectives in {file} ({error}). Pass the file with --slo.") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise LoadTestError(
            f"{file} has no objective for {model} with availability and latency ({error!r} is missing). "
            "The file of the repository is ops/slo.yaml."
        ) from error
