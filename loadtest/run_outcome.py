"""What one Locust run left behind, and the figures of its phases."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.errors import LoadTestError
from loadtest.shapes import Shape, make_shape
from loadtest.tally import Cell, Tally

# The knee: the fewest users that reach this share of the highest rate.
KNEE_SHARE = 0.9


@dataclass(frozen=True)
class RunOutcome:
    """One run.

    Attributes:
        started_s: time of day at which the shape began.
        phases_reached: fewer than the shape has where it ended at a break; calls still end in the seconds of the next.
        users: second of the day -> users.
        compared: answers compared with golden ones.
        largest: difference of a number in them.
        examples: reason of failures -> a sentence.
        lags_ms: of the generator's loop, sorted.
        locust: what Locust's own statistics say of all calls.
    """

    shape: Shape
    started_s: float
    phases_reached: int
    tally: Tally
    users: dict[int, int]
    compared: int
    largest: float
    examples: dict[str, str]
    lags_ms: list[float]
    locust: dict[str, Any]

    def phase_total(self, name: str) -> Cell:
        """The calls of a phase after it has settled."""
        phase = next(phase for phase in self.shape.phases if phase.name == name)
        return self.tally.total(None, *phase.seconds(self.started_s))

    def rows(self) -> list[dict[str, Any]]:
        """A row of plain figures a phase that was reached."""
        rows = []
        for phase in self.shape.phases[: self.phases_reached]:
            from_s, until_s = phase.seconds(self.started_s)
            cell = self.tally.total(None, from_s, until_s)
            if not cell.calls or until_s <= from_s:
                continue
            rows.append(
                {
                    "phase": phase.name,
                    "users": phase.users,
                    "calls": cell.calls,
                    "answers_per_s": round(cell.answered / (until_s - from_s), 2),
                    "failed": cell.failed,
                    "within": round(cell.within / cell.answered, 4) if cell.answered else None,
                    "p50_ms": _rounded(cell.percentile_ms(50)),
                    "p99_ms": _rounded(cell.percentile_ms(99)),
                }
            )
        return rows

    def figures(self) -> dict[str, float]:
        """What a baseline keeps: rates of the shape that has several, rate and latency of the judged phase."""
        rows = self.rows()
        figures: dict[str, float] = {}
        if self.shape.name == "step" and rows:
            figures["step.highest_per_s"] = max(row["answers_per_s"] for row in rows)
            figures["step.alone_p50_ms"] = rows[0]["p50_ms"]
        for row in rows:
            if row["phase"] == self.shape.judged:
                name = self.shape.name
                figures |= {f"{name}.answers_per_s": row["answers_per_s"], f"{name}.p50_ms": row["p50_ms"]}
        return {name: value for name, value in figures.items() if value is not None}

    def series(self) -> list[dict[str, Any]]:
        """A row a second of the run, for charts."""
        seconds = range(math.floor(self.started_s), max(self.tally.seconds, default=0) + 1)
        rows = []
        for second in seconds:
            cell = self.tally.total(None, second, second + 1)
            rows.append(
                {
                    "second": second - math.floor(self.started_s),
                    "users": self.users.get(second, 0),
                    "answers": cell.answered,
                    "failed": cell.failed,
                    "p50_ms": _rounded(cell.percentile_ms(50)),
                    "p99_ms": _rounded(cell.percentile_ms(99)),
                }
            )
        return rows

    def kinds(self) -> dict[str, dict[str, Any]]:
        """Kind of call -> its figures over the whole run."""
        cells = {kind: self.tally.total([kind]) for kind in self.tally.kinds()}
        return {
            kind: {
                "calls": cell.calls,
                "failures": dict(cell.failures),
                "p50_ms": _rounded(cell.percentile_ms(50)),
                "p99_ms": _rounded(cell.percentile_ms(99)),
            }
            for kind, cell in cells.items()
        }

    def lag_ms(self, percent: float) -> float | None:
        """A percentile of the generator's lag; None where it was never measured."""
        if not self.lags_ms:
            return None
        return self.lags_ms[min(len(self.lags_ms) - 1, math.ceil(len(self.lags_ms) * percent / 100) - 1)]


def find_knee(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The first phase of a step run that reaches `KNEE_SHARE` of the highest rate: more users only wait longer."""
    highest = max(row["answers_per_s"] for row in rows)
    return next(row for row in rows if row["answers_per_s"] >= KNEE_SHARE * highest)


def read_outcome(file: Path, under_s: float) -> RunOutcome:
    """What a Locust process wrote at its end.

    Raises:
        LoadTestError: it wrote nothing, or something else.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        tally = Tally(under_s)
        tally.add_json(content["tally"])
        return RunOutcome(
            shape=make_shape(
                content["shape"], scale=content["scale"], soak_s=content["soak_s"], soak_users=content["soak_users"]
            ),
            started_s=content["started_s"],
            phases_reached=content["phases_reached"],
            tally=tally,
            users={int(second): users for second, users in content["users"].items()},
            compared=content["compared"],
            largest=content["largest"],
            examples=content["examples"],
            lags_ms=content["lags_ms"],
            locust=content["locust"],
        )
    except (OSError, ValueError, KeyError) as error:
        raise LoadTestError(f"The run left no outcome in {file} ({error!r}). Its messages above say why.") from error


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
