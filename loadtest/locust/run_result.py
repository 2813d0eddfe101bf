"""Result of one Locust run, and the figures of its phases."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.errors import LoadTestError
from loadtest.locust.shapes import Shape
from loadtest.traffic.latency_histogram import CallCounts, LatencyHistogram

# The knee: the fewest users that reach this share of the highest rate.
KNEE_SHARE = 0.9


@dataclass(frozen=True)
class RunResult:
    """One run.

    Attributes:
        started_s: time of day at the start of the shape.
        phases_reached: fewer than the shape has after a break; late calls still count in the seconds of the next phase.
        users: second of the day -> users.
        compared: answers compared with reference answers.
        largest_difference: of a number in these answers.
        examples: reason of a failure -> a sentence.
        lags_ms: of the generator's loop.
        locust: Locust's own counts of all calls.
    """

    shape: Shape
    started_s: float
    phases_reached: int
    histogram: LatencyHistogram
    users: dict[int, int]
    compared: int
    largest_difference: float
    examples: dict[str, str]
    lags_ms: list[float]
    locust: dict[str, Any]

    def phase_total(self, name: str) -> CallCounts:
        """The calls of a phase after settling."""
        phase = next(phase for phase in self.shape.phases if phase.name == name)
        return self.histogram.total(None, *phase.seconds(self.started_s))

    def rows(self) -> list[dict[str, Any]]:
        """One row of plain figures per phase that was reached."""
        rows = []
        for phase in self.shape.phases[: self.phases_reached]:
            from_s, until_s = phase.seconds(self.started_s)
            counts = self.histogram.total(None, from_s, until_s)
            if counts.calls and until_s > from_s:
                within = round(counts.within / counts.answered, 4) if counts.answered else None
                rate = round(counts.answered / (until_s - from_s), 2)
                rows.append(
                    {"phase": phase.name, "users": phase.users, "calls": counts.calls, "answers_per_s": rate}
                    | {"failed": counts.failed, "within": within, **counts.percentiles_ms()}
                )
        return rows

    def figures(self) -> dict[str, float]:
        """Figures for a baseline: the highest rate of the shape step, rate and latency of the objective's phase."""
        rows = self.rows()
        figures: dict[str, float] = {}
        if self.shape.name == "step" and rows:
            figures["step.highest_per_s"] = max(row["answers_per_s"] for row in rows)
            figures["step.one_user_p50_ms"] = rows[0]["p50_ms"]
        for row in rows:
            if row["phase"] == self.shape.objective_phase:
                name = self.shape.name
                figures |= {f"{name}.answers_per_s": row["answers_per_s"], f"{name}.p50_ms": row["p50_ms"]}
        return {name: value for name, value in figures.items() if value is not None}

    def as_json(self) -> dict[str, Any]:
        return {
            "shape": self.shape.name, "phases": self.rows(), "series": self.series(), "figures": self.figures(),
            "kinds": self.kinds(), "locust": self.locust, "lag_p99_ms": self.lag_ms(99),
        }  # fmt: skip

    def series(self) -> list[dict[str, Any]]:
        """One row per second of the run, for charts."""
        first = math.floor(self.started_s)
        rows = []
        for second in range(first, max(self.histogram.seconds, default=0) + 1):
            counts = self.histogram.total(None, second, second + 1)
            users = self.users.get(second, 0)
            row = {"second": second - first, "users": users, "answers": counts.answered, "failed": counts.failed}
            rows.append(row | counts.percentiles_ms())
        return rows

    def kinds(self) -> dict[str, dict[str, Any]]:
        """Kind of call -> its figures over the whole run."""
        totals = {kind: self.histogram.total([kind]) for kind in self.histogram.kinds()}
        return {
            kind: {"calls": counts.calls, "failures": dict(counts.failures), **counts.percentiles_ms()}
            for kind, counts in totals.items()
        }

    def lag_ms(self, percent: float) -> float | None:
        """A percentile of the generator's lag; None where it was not measured."""
        if not self.lags_ms:
            return None
        return round(float(np.percentile(self.lags_ms, percent, method="inverted_cdf")), 1)


def find_knee(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The first phase of the shape step with `KNEE_SHARE` of the highest rate; more users only add latency."""
    highest = max(row["answers_per_s"] for row in rows)
    return next(row for row in rows if row["answers_per_s"] >= KNEE_SHARE * highest)


def read_result(file: Path, shape: Shape, under_s: float) -> RunResult:
    """The file that a Locust process wrote at its end.

    Raises:
        LoadTestError: the process wrote no result.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadTestError(
            f"The run wrote no result to {file} ({error!r}). Locust's messages above have the cause."
        ) from error
    histogram = LatencyHistogram(under_s)
    histogram.add_json(content["histogram"])
    users = {int(second): count for second, count in content["users"].items()}
    return RunResult(shape=shape, **{**content, "histogram": histogram, "users": users})
