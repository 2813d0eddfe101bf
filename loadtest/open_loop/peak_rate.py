"""Trials at a rate, and the search for the highest rate that meets the objective."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loadtest.errors import LoadTestError
from loadtest.open_loop.stream import EncodedRequests, StreamResult, fetch_references, run_closed_loop, run_open_loop
from loadtest.server.counters import count_requests
from loadtest.server.objectives import Objective

# p99 of the generator's lag, as a share of the objective's latency bound, above which a trial is void.
LAG_SHARE = 0.1
CAPACITY_CONCURRENCY = 16
CAPACITY_S = 6.0
TIMEOUT_S = 10.0
# Triton 2.51.0 may or may not count these: the request did not arrive, or a full queue refused it.
_UNCERTAIN = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED")
_FIRST_SHARE = 0.7
_STEP_DOWN = 0.9
_MOST_CONFIRMATIONS = 4


@dataclass(frozen=True)
class Trial:
    """Results at one rate.

    Attributes:
        rate: photos per second sent.
        completed_per_s: photos per second answered meanwhile.
        p50_ms, p90_ms, p99_ms: of the answers, from the time at which a photo was due.
        lag_p99_ms: of the generator.
        failures: error -> photos.
        missed: the reason why the trial does not meet the objective; None when the trial does.
    """

    rate: float
    duration_s: float
    photos: int
    completed_per_s: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    lag_p99_ms: float
    failures: dict[str, int]
    missed: str | None = None

    @property
    def failed(self) -> int:
        return sum(self.failures.values())

    def check(self, objective: Objective) -> str | None:
        """The reason why the objective is missed, or why the trial is void; None when the objective is met."""
        bound_ms = objective.under_s * 1e3
        if self.photos == 0:
            return "no photo was sent; give a higher rate or a longer duration"
        if self.lag_p99_ms > LAG_SHARE * bound_ms:
            return f"the generator was late: p99 of its lag {self.lag_p99_ms:.0f} ms, expected {LAG_SHARE * bound_ms:g}"
        if self.failed > (1 - objective.availability) * self.photos:
            return f"{', '.join(f'{count} {error}' for error, count in self.failures.items())} of {self.photos}"
        if not self.p99_ms < bound_ms:
            return f"p99 {self.p99_ms:.0f} ms, expected less than {bound_ms:g}"
        return None

    def as_json(self) -> dict[str, Any]:
        """Plain values; None for percentiles without answers."""
        rounded = {name: round(value, 3) if isinstance(value, float) else value for name, value in vars(self).items()}
        return {name: None if value != value else value for name, value in rounded.items()}  # NaN is not JSON


class RateTester:
    """Measures one server with one set of encoded photos; `seed` is of the arrivals."""

    def __init__(self, target: str, metrics_url: str, photos: Sequence[bytes], objective: Objective, seed: int) -> None:
        self.objective = objective
        self._target = target
        self._metrics_url = metrics_url
        self._seed = seed
        self._requests = EncodedRequests(photos)
        self._references = fetch_references(target, self._requests)

    def try_rate(self, rate: float, duration_s: float) -> Trial:
        """Poisson arrivals at `rate` photos per second.

        Raises:
            LoadTestError: an answer was wrong, or the server counted other requests than ours.
        """
        result = self._counted(
            functools.partial(
                run_open_loop,
                rate=rate,
                duration_s=duration_s,
                timeout_s=TIMEOUT_S,
                seed=self._seed + round(rate * 100),
            )
        )
        trial = Trial(
            rate=rate,
            duration_s=duration_s,
            photos=result.sent,
            completed_per_s=result.rate,
            p50_ms=result.latency_ms(50),
            p90_ms=result.latency_ms(90),
            p99_ms=result.latency_ms(99),
            lag_p99_ms=result.lag_ms(99),
            failures=dict(result.errors),
        )
        return replace(trial, missed=trial.check(self.objective))

    def measure_capacity(self) -> float:
        """Photos per second with 16 requests in flight."""
        run = functools.partial(run_closed_loop, concurrency=CAPACITY_CONCURRENCY, duration_s=CAPACITY_S)
        return self._counted(run).rate

    def measure_single(self, duration_s: float) -> dict[str, float]:
        """Latencies with one request in flight: mean, median and 99th percentile in milliseconds."""
        result = self._counted(functools.partial(run_closed_loop, concurrency=1, duration_s=duration_s))
        if not result.latencies_s:
            raise LoadTestError(f"No request was answered in {duration_s:g} s: {dict(result.errors)}.")
        mean_ms = 1e3 * sum(result.latencies_s) / len(result.latencies_s)
        figures = {"mean_ms": mean_ms, "p50_ms": result.latency_ms(50), "p99_ms": result.latency_ms(99)}
        return {name: round(figure, 3) for name, figure in figures.items()}

    def _counted(self, run: Callable[..., StreamResult]) -> StreamResult:
        """Runs, and compares the requests sent with the requests that the server counted."""
        before = count_requests(self._metrics_url)["recognizer"]
        result = run(self._target, self._requests, self._references)
        counted = count_requests(self._metrics_url)["recognizer"] - before
        uncertain = sum(count for error, count in result.errors.items() if error.startswith(_UNCERTAIN))
        if not result.sent - uncertain <= counted <= result.sent:
            raise LoadTestError(
                f"{result.sent} requests were sent, the server counted {counted}: another client uses the server, or "
                "--metrics is of another server. The measurement is void."
            )
        if result.wrong_answers:
            raise LoadTestError(
                f"{result.wrong_answers} of {len(result.latencies_s)} answers differ from the answers without load."
            )
        return result


def find_peak(
    try_rate: Callable[[float, float], Trial], capacity: float, trial_s: float, tries: int
) -> Iterator[tuple[str, Trial]]:
    """Bisects for the highest rate that meets the objective; yields every trial, at most `tries` + 4.

    The highest rate may have passed by chance. It is tried again for twice as long, and 10 % lower after each miss.
    The last trial is the peak when its name is "confirmed".

    Args:
        try_rate: photos per second and seconds -> a trial.
        capacity: photos per second of the busy server, the upper end of the search.
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
