"""Photos that come whether or not the one before was answered: runs of LoadGen, and the peak that they find."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

from loadtest.errors import LoadTestError
from loadtest.loadgen_settings import Settings
from loadtest.objectives import Objective

# A call may begin this share of the bound on an answer after it was due, at the 99th percentile and on the mean.
LAG_SHARE = 0.1
# Photos that were due and are still unanswered at the end of a run, and LoadGen's start.
_AROUND_S = 90
_FIRST_SHARE = 0.7
_STEP_DOWN = 0.9
_MOST_CONFIRMATIONS = 4


@dataclass(frozen=True)
class OpenRun:
    """One run of LoadGen.

    Attributes:
        rate: photos a second that were due; 0 where the scenario has none.
        completed_per_s: photos a second that were answered.
        p50_ms, p90_ms, p99_ms: from when a photo was due, by LoadGen.
        lag_p99_ms: between LoadGen's asking and our beginning.
        loadgen_lag_ms: between a photo's due time and LoadGen's asking, on the mean.
        served_mean_ms, served_p50_ms, served_p99_ms: of a call alone, from its beginning.
    """

    scenario: str
    rate: float
    duration_s: float
    photos: int
    completed_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    lag_p99_ms: float
    loadgen_lag_ms: float
    served_mean_ms: float
    served_p50_ms: float
    served_p99_ms: float
    failures: dict[str, int]

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    def misses(self, objective: Objective) -> str | None:
        """Why the run does not hold the objective, or says nothing of it; None where it holds."""
        bound_ms = objective.under_s * 1e3
        if max(self.lag_p99_ms, self.loadgen_lag_ms) > LAG_SHARE * bound_ms:
            return (
                f"the generator was late: p99 of its own lag {self.lag_p99_ms:.0f} ms, LoadGen's mean "
                f"{self.loadgen_lag_ms:.0f} ms, expected {LAG_SHARE * bound_ms:g}"
            )
        if self.failed > (1 - objective.availability) * self.photos:
            named = ", ".join(f"{count} {reason}" for reason, count in self.failures.items())
            return f"{named} of {self.photos}"
        if self.p99_ms >= bound_ms:
            return f"p99 {self.p99_ms:.0f} ms, expected less than {bound_ms:g}"
        return None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


def run_loadgen(settings: Settings) -> OpenRun:
    """One run in a process of its own.

    Raises:
        LoadTestError: it failed or did not end.
    """
    words = [sys.executable, "-m", "loadtest.loadgen_process"]
    try:
        done = subprocess.run(
            words, input=json.dumps(asdict(settings)), capture_output=True, text=True, check=False,
            timeout=settings.duration_s * 2 + _AROUND_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise LoadTestError(
            f"{settings.scenario} of {settings.duration_s:g} s did not end in {error.timeout:.0f} s: the server is far "
            "too slow for it. Try a lower rate or a shorter run."
        ) from error
    if done.returncode != 0:
        tail = "\n".join(done.stderr.splitlines()[-3:])
        raise LoadTestError(f"LoadGen's process ended with {done.returncode} in {settings.scenario}:\n{tail}")
    return read_run(json.loads(done.stdout))


def read_run(said: dict[str, Any]) -> OpenRun:
    """What `loadgen_process` printed."""
    settings, summary, lags_ms, served_ms = said["settings"], said["summary"], said["lags_ms"], said["served_ms"]
    is_paced = settings["scenario"] == "Server"
    # Of a batch that is due at once the mean is of queries, not of photos: no lag can be told from it.
    loadgen_lag_ms = max(0.0, summary["mean_ms"] - served_ms["mean"] - lags_ms["mean"]) if is_paced else 0.0
    return OpenRun(
        scenario=settings["scenario"],
        rate=settings["rate"] if is_paced else 0.0,
        duration_s=settings["duration_s"],
        photos=said["photos"],
        completed_per_s=said["photos"] / said["elapsed_s"],
        p50_ms=summary["p50_ms"],
        p90_ms=summary["p90_ms"],
        p99_ms=summary["p99_ms"],
        lag_p99_ms=lags_ms["p99"],
        loadgen_lag_ms=loadgen_lag_ms,
        served_mean_ms=served_ms["mean"],
        served_p50_ms=served_ms["p50"],
        served_p99_ms=served_ms["p99"],
        failures=said["failures"],
    )


@dataclass(frozen=True)
class Trial:
    """A rate that was tried, and why it does not hold; None where it does."""

    run: OpenRun
    missed: str | None


def find_peak(
    try_rate: Callable[[float, float], Trial], capacity: float, trial_s: float, tries: int
) -> Iterator[tuple[str, Trial]]:
    """Bisects for the highest rate that holds; every trial as it ends. Bounded: `tries` and at most 4 more.

    A rate that held once may have been lucky, so the highest is tried again for twice as long, and a tenth less where
    it does not hold. The last trial yielded as "confirmed" is the peak, if it holds.

    Args:
        try_rate: photos a second and seconds -> what came of it.
        capacity: photos a second with the server always busy: no rate above it holds for long.
        trial_s: of one trial.
        tries: of the bisection.
    """
    low, high, rate = 0.0, capacity, capacity * _FIRST_SHARE
    for number in range(tries):
        trial = try_rate(rate, trial_s)
        yield f"trial {number + 1} of {tries}", trial
        low, high = (rate, high) if trial.missed is None else (low, rate)
        rate = (low + high) / 2
    rate = low or high
    for _ in range(_MOST_CONFIRMATIONS):
        trial = try_rate(rate, 2 * trial_s)
        yield "confirmed" if trial.missed is None else "not confirmed", trial
        if trial.missed is None:
            return
        rate *= _STEP_DOWN


def at_rate(settings: Settings, rate: float, duration_s: float) -> Settings:
    """The same for another rate; photos and times are drawn anew."""
    return replace(
        settings, scenario="Server", rate=rate, duration_s=duration_s, seed=settings.seed + round(rate * 100)
    )
