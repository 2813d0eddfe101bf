"""How far the three generators agree: bench, Locust and LoadGen in turns on one machine, on the same photos.

Turns, because a machine drifts: only what lies within one round is compared.
"""

from __future__ import annotations

import itertools
import random
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.progress import Progress

from loadtest import locust_runs
from loadtest.callers import through_client
from loadtest.corpus import Corpus, Drawer, Mix
from loadtest.driver import ServerProcess, closed_loop
from loadtest.loadgen_settings import Settings
from loadtest.open_model import run_loadgen
from loadtest.shapes import make_shape
from triptych import Client

BENCH, LOCUST, LOADGEN, POISSON = "bench", "Locust", "LoadGen", "LoadGen, Poisson at 70 %"
# LoadGen sends Offline with as many threads.
IN_FLIGHT = (1, 16)
_POISSON_SHARE = 0.7
# Locust's users come one by one, and their first calls connect.
_SETTLE_S = 5.0


@dataclass(frozen=True)
class Figure:
    """One generator's turn.

    Attributes:
        rate: photos a second that were answered.
        p50_ms, p99_ms: of a call; of Poisson arrivals, from when it was due.
    """

    rate: float
    p50_ms: float
    p99_ms: float


Rounds = dict[str, list[Figure]]


class Generators:
    """The three, over one corpus.

    Args:
        field: for Locust: gRPC, one kind of call, no repeats, no bad photos.
        settings: for LoadGen.
        prepared: folder with the corpus.
        server: for the bench's CPU times.
    """

    def __init__(
        self, field: locust_runs.Field, settings: Settings, prepared: Path, server: ServerProcess, turn_s: float
    ) -> None:
        self._field = field
        self._settings = replace(settings, duration_s=turn_s)
        self._prepared = prepared
        self._server = server
        self._turn_s = turn_s
        self._order = random.Random(field.seed)
        # Photos a second, as last seen: how many LoadGen's Offline asks for, and what Poisson is a share of.
        self._rate = 1.0
        self._draw = Drawer(Corpus.read(prepared), Mix(repeat_share=0.0, bad_share=0.0), field.seed)

    def run(self, rounds: int, progress: Progress) -> dict[int, Rounds]:
        """Calls in flight -> generator -> a figure a round."""
        found: dict[int, Rounds] = {in_flight: {} for in_flight in IN_FLIGHT}
        task = progress.add_task("Bench, Locust and LoadGen in turns", total=rounds * len(IN_FLIGHT))
        for _, in_flight in itertools.product(range(rounds), IN_FLIGHT):
            for name, figure in self._turns(in_flight, progress):
                found[in_flight].setdefault(name, []).append(figure)
            progress.advance(task)
        progress.remove_task(task)
        return found

    def _turns(self, in_flight: int, progress: Progress) -> Iterator[tuple[str, Figure]]:
        takes: dict[str, Callable[[], Figure]] = {
            BENCH: lambda: self._bench(in_flight),
            LOCUST: lambda: self._locust(in_flight, progress),
            LOADGEN: lambda: self._loadgen("SingleStream" if in_flight == 1 else "Offline", self._rate),
        }
        # In an order drawn anew: nobody always comes first, to a server that just had nothing to do.
        for name in self._order.sample(list(takes), len(takes)):
            figure = takes[name]()
            self._rate = figure.rate
            yield name, figure
        if in_flight > 1:
            yield POISSON, self._loadgen("Server", _POISSON_SHARE * self._rate)

    def _bench(self, in_flight: int) -> Figure:
        photos = (self._draw.draw(may_be_bad=False).content for _ in itertools.count())
        with Client(self._field.target, timeout_s=60) as client:
            call = through_client(client)
            call([next(photos)])
            turn = closed_loop(
                call, photos, concurrency=in_flight, batch_size=1, duration_s=self._turn_s, server=self._server
            )
        p50_ms, p99_ms = np.percentile(turn.latencies_s, (50, 99)) * 1e3
        return Figure(turn.rate, float(p50_ms), float(p99_ms))

    def _locust(self, in_flight: int, progress: Progress) -> Figure:
        soak_s = self._turn_s + _SETTLE_S
        shape = make_shape("soak", soak_s=soak_s, soak_users=in_flight)
        outcome = locust_runs.run_shape(
            self._field, shape, self._prepared, progress, scale=1.0, soak_s=soak_s, soak_users=in_flight
        )
        (row,) = outcome.rows()
        return Figure(row["answers_per_s"], row["p50_ms"], row["p99_ms"])

    def _loadgen(self, scenario: str, rate: float) -> Figure:
        run = run_loadgen(replace(self._settings, scenario=scenario, rate=rate))
        # Offline's photos are all due at once: a call's own time is what the others measure.
        if scenario == "Offline":
            return Figure(run.completed_per_s, run.served_p50_ms, run.served_p99_ms)
        return Figure(run.completed_per_s, run.p50_ms, run.p99_ms)


def compare(rounds: Rounds) -> dict[str, dict[str, float]]:
    """Generator -> medians over rounds, and its rate over the bench's, round by round: median, lowest, highest."""
    rows = {}
    for name, figures in rounds.items():
        ratios = [mine.rate / bench.rate for mine, bench in zip(figures, rounds[BENCH], strict=True)]
        rows[name] = {
            "rate": statistics.median(figure.rate for figure in figures),
            "p50_ms": statistics.median(figure.p50_ms for figure in figures),
            "p99_ms": statistics.median(figure.p99_ms for figure in figures),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
    return {name: {key: round(value, 3) for key, value in row.items()} for name, row in rows.items()}
