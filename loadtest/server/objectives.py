"""Objectives of a model, read from `ops/slo.yaml`; `ops` owns and checks the file's schema."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from loadtest.errors import LoadTestError
from loadtest.files import SLO_FILE


@dataclass(frozen=True)
class Objective:
    """Objective of one model.

    Attributes:
        availability: share of calls to answer, for example 0.999.
        fast_share: share of answers to return in less than `under_s`.
    """

    model: str
    availability: float
    fast_share: float
    under_s: float

    def __str__(self) -> str:
        return (
            f"{self.model}: {self.availability:.2%} of calls answered, {self.fast_share:.0%} of answers in less than "
            f"{self.under_s * 1e3:g} ms"
        )


def read_objective(model: str = "recognizer", profile: str | None = "cpu", file: Path = SLO_FILE) -> Objective:
    """The objective of a model; a hardware profile without its own latency bound has the default one.

    Raises:
        LoadTestError: the file cannot be read, or has no objective of the model.
    """
    try:
        own = yaml.safe_load(file.read_text(encoding="utf-8"))["models"][model]
        latency = own["latency"]
        under_ms = latency.get("profiles", {}).get(profile, latency["under_ms"])
        return Objective(
            model, own["availability"]["percent"] / 100, latency["percent"] / 100, under_s=float(under_ms) / 1e3
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise LoadTestError(
            f"{file} has no objective for {model} with availability and latency ({error!r}). Pass the file with --slo; "
            "that of the repository is ops/slo.yaml."
        ) from error
