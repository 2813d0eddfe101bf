"""State of one Locust process: photos, reference answers, counts, and the lag of its loop. Must not import Locust."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import gevent

from loadtest.locust.settings import RunSettings
from loadtest.locust.shapes import Phase
from loadtest.traffic.calls import SEARCH, CallRunner
from loadtest.traffic.corpus import Corpus, PhotoSampler
from loadtest.traffic.latency_histogram import LatencyHistogram
from loadtest.traffic.reference_answers import ReferenceAnswers, read_prepared

_LAG_PERIOD_S = 0.05
# The first calls import and compile what they need, which takes 0.1 s at once.
_SETTLE_S = 2.0
# A phase of the shape breakpoint is broken above this share of failed calls, or above this multiple of the bound.
_BROKEN_SHARE = 0.01
_BROKEN_OF_BOUND = 1.5


class ProcessState:
    """State of one process.

    Attributes:
        calls: sends the calls of the users.
        has_catalogue: whether the reference answers contain searches.
    """

    def __init__(self, environment: Any, is_worker: bool, shape_name: str) -> None:
        options = environment.parsed_options
        settings = RunSettings.from_options(options)
        self._environment = environment
        self._result_file = options.result_file
        self._under_ms = settings.under_ms
        self._histogram = LatencyHistogram(settings.under_ms / 1e3)
        if options.prepared:
            corpus, without_load = read_prepared(Path(options.prepared))
        else:
            corpus, without_load = Corpus.make(Path(options.photos), settings.seed), {}
        self.has_catalogue = any(kind == SEARCH for kind, _ in without_load)
        self._references = ReferenceAnswers(without_load)
        # Each worker has its own seed; with one seed all workers would send one sequence.
        seed = settings.seed + (int.from_bytes(os.urandom(4), "big") if is_worker else 0)
        self.calls = CallRunner(PhotoSampler(corpus, settings.mix, seed), self._references, self._histogram)
        self._shape = settings.make_shape(shape_name) if shape_name else None
        self._started_s = time.time()
        self._phase: Phase | None = None
        self._is_broken = False
        self._users: dict[int, int] = {}
        self._lags_ms: list[float] = []
        self._first_user_s = 0.0
        self._merged: dict[str, Any] = {"compared": 0, "largest_difference": 0.0, "examples": {}, "lags_ms": []}
        gevent.spawn(self._measure_lag)

    def users_at(self, run_s: float) -> int | None:
        """Users of the shape; None after its end or after a break."""
        assert self._shape is not None
        if self._phase is None:
            self._started_s = time.time() - run_s
        phase = self._shape.phase_at(run_s)
        if self._shape.ends_at_break and self._phase is not None and phase is not self._phase:
            self._is_broken = self._has_broken(self._phase)
        if phase is None or self._is_broken:
            return None
        self._phase = phase
        return phase.users

    def take_report(self) -> dict[str, Any]:
        """Results since the last report: the message of a worker to its master."""
        report = {
            "histogram": self._histogram.take_json(),
            "compared": self._references.compared,
            "largest_difference": self._references.largest_difference,
            "examples": self.calls.examples,
            "lags_ms": self._lags_ms,
        }
        self._lags_ms, self._references.compared = [], 0
        return report

    def merge_report(self, report: dict[str, Any] | None) -> None:
        """Adds the report of a process to the result of the run."""
        if report is None:
            return
        merged = self._merged
        self._histogram.add_json(report["histogram"])
        merged["compared"] += report["compared"]
        merged["largest_difference"] = max(merged["largest_difference"], report["largest_difference"])
        merged["examples"] = {**report["examples"], **merged["examples"]}
        merged["lags_ms"] += report["lags_ms"]

    def write_result(self) -> None:
        """Writes the result for the verdict, where a file was asked for."""
        if not self._result_file:
            return
        self.merge_report(self.take_report())
        total = self._environment.stats.total
        result = {
            **self._merged,
            "started_s": self._started_s,
            "phases_reached": 1 + self._shape.phases.index(self._phase) if self._shape and self._phase else 0,
            "histogram": self._histogram.take_json(),
            "users": self._users,
            "locust": {"requests": total.num_requests, "failures": total.num_failures},
        }
        Path(self._result_file).write_text(json.dumps(result), encoding="utf-8")

    def _has_broken(self, phase: Phase) -> bool:
        from_s, until_s = phase.seconds(self._started_s)
        if until_s <= from_s:
            return False  # shorter than a second: no figures
        counts = self._histogram.total(None, from_s, until_s)
        p99_ms = counts.percentile_ms(99)
        is_slow = p99_ms is None or p99_ms > self._under_ms * _BROKEN_OF_BOUND
        return is_slow or counts.failed > _BROKEN_SHARE * counts.calls

    def _measure_lag(self) -> None:
        """How late a greenlet wakes up: the lag of the event loop, which all users share."""
        while True:
            before = time.perf_counter()
            gevent.sleep(_LAG_PERIOD_S)
            runner = self._environment.runner
            if runner is None or not runner.user_count:
                continue
            now_s = time.perf_counter()
            self._users[int(time.time())] = runner.user_count
            self._first_user_s = self._first_user_s or now_s
            if now_s > self._first_user_s + _SETTLE_S:
                self._lags_ms.append((now_s - before - _LAG_PERIOD_S) * 1e3)
