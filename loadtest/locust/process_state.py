"""State of one Locust process: photos, reference answers, counts, and the lag of its loop. Must not import Locust."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import gevent

from loadtest.files import PHOTOS
from loadtest.locust.shapes import Phase, make_shape
from loadtest.traffic.calls import CallRunner
from loadtest.traffic.corpus import Corpus, PhotoSampler, TrafficMix
from loadtest.traffic.latency_histogram import LatencyHistogram
from loadtest.traffic.reference_answers import ReferenceAnswers, read_references

_LAG_PERIOD_S = 0.05
# The first calls import and compile what they need, which takes 0.1 s at once.
_SETTLE_S = 2.0
# A phase of the shape breakpoint is broken above this share of failed calls, or above this multiple of the bound.
_BROKEN_SHARE = 0.01
_BROKEN_OF_BOUND = 1.5


def add_options(parser: Any) -> None:
    """Options of the users beside Locust's own."""
    group = parser.add_argument_group("Triptych")
    group.add_argument("--target", default=os.environ.get("TRIPTYCH_TARGET", "127.0.0.1:8001"), help="gRPC address")
    group.add_argument(
        "--http", default=os.environ.get("TRIPTYCH_HTTP_URL", "http://127.0.0.1:8000"), help="HTTP address"
    )
    group.add_argument("--photos", default=str(PHOTOS), help="folder of *.jpg")
    group.add_argument("--prepared", default="", help="folder with a corpus and reference answers")
    group.add_argument("--think-s", type=float, default=0.0, help="seconds between an answer and the next call")
    group.add_argument("--timeout-s", type=float, default=10.0, help="timeout of a call in seconds")
    group.add_argument("--zipf", type=float, default=TrafficMix.zipf, help="Zipf exponent of the photos' frequency")
    group.add_argument("--repeat-share", type=float, default=TrafficMix.repeat_share, help="share of repeated photos")
    group.add_argument("--bad-share", type=float, default=TrafficMix.bad_share, help="share of invalid photos")
    group.add_argument("--seed", type=int, default=1, help="of the photos drawn")
    group.add_argument("--under-ms", type=float, default=250.0, help="latency bound of the objective")
    group.add_argument("--scale", type=float, default=1.0, help="factor of the shape's durations")
    group.add_argument("--soak-s", type=float, default=600.0, help="duration of a soak in seconds")
    group.add_argument("--soak-users", type=int, default=1, help="users of a soak")
    group.add_argument("--result-file", default="", help="JSON file to write at the end")


class ProcessState:
    """State of one process.

    Attributes:
        calls: sends the calls of the users.
        has_catalogue: whether the reference answers contain searches.
    """

    def __init__(self, environment: Any, is_worker: bool) -> None:
        options = environment.parsed_options
        self._environment = environment
        self._options = options
        self._under_s = options.under_ms / 1e3
        self._histogram = LatencyHistogram(self._under_s)
        self._workers: dict[str, Any] = {"compared": 0, "largest_difference": 0.0, "examples": {}, "lags_ms": []}
        prepared = Path(options.prepared) if options.prepared else None
        corpus = Corpus.read(prepared) if prepared else Corpus.make(Path(options.photos), options.seed)
        without_load = read_references(prepared / "references.npz") if prepared else {}
        self.has_catalogue = any(kind == "search" for kind, _ in without_load)
        self._references = ReferenceAnswers(without_load)
        mix = TrafficMix(options.zipf, options.repeat_share, options.bad_share)
        # Each worker has its own seed; with one seed all workers would send one sequence.
        seed = options.seed + (int.from_bytes(os.urandom(4), "big") if is_worker else 0)
        self.calls = CallRunner(PhotoSampler(corpus, mix, seed), self._references, self._histogram)
        self._shape_name = os.environ.get("TRIPTYCH_LOAD_SHAPE", "")
        self._shape = (
            make_shape(self._shape_name, scale=options.scale, soak_s=options.soak_s, soak_users=options.soak_users)
            if self._shape_name
            else None
        )
        self._started_s = time.time()
        self._phase: Phase | None = None
        self._is_broken = False
        self._users: dict[int, int] = {}
        self._lags_ms: list[float] = []
        self._first_user_s = 0.0
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

    def add_worker_report(self, data: dict[str, Any]) -> None:
        """Adds a worker's results since its last report to the message for its master."""
        data["triptych"] = {
            "histogram": self._histogram.take_json(),
            "compared": self._references.compared,
            "largest_difference": self._references.largest_difference,
            "examples": self.calls.examples,
            "lags_ms": self._lags_ms,
        }
        self._lags_ms, self._references.compared = [], 0

    def merge_worker_report(self, data: dict[str, Any]) -> None:
        """Merges the message of a worker; called in the master."""
        report = data.get("triptych")
        if report is None:
            return
        workers = self._workers
        self._histogram.add_json(report["histogram"])
        workers["compared"] += report["compared"]
        workers["largest_difference"] = max(workers["largest_difference"], report["largest_difference"])
        workers["examples"] = {**report["examples"], **workers["examples"]}
        workers["lags_ms"] += report["lags_ms"]

    def write_result(self) -> None:
        """Writes the result for the verdict, where a file was asked for."""
        if not self._options.result_file:
            return
        total, workers = self._environment.stats.total, self._workers
        result = {
            "shape": self._shape_name,
            "started_s": self._started_s,
            "phases_reached": 1 + self._shape.phases.index(self._phase) if self._shape and self._phase else 0,
            "scale": self._options.scale,
            "soak_s": self._options.soak_s,
            "soak_users": self._options.soak_users,
            "histogram": self._histogram.as_json(),
            "users": {str(second): users for second, users in self._users.items()},
            "compared": self._references.compared + workers["compared"],
            "largest_difference": max(self._references.largest_difference, workers["largest_difference"]),
            "examples": {**workers["examples"], **self.calls.examples},
            "lags_ms": sorted(round(lag, 1) for lag in self._lags_ms + workers["lags_ms"]),
            "locust": {
                "requests": total.num_requests,
                "failures": total.num_failures,
                "p50_ms": total.get_response_time_percentile(0.5),
                "p99_ms": total.get_response_time_percentile(0.99),
            },
        }
        Path(self._options.result_file).write_text(json.dumps(result), encoding="utf-8")

    def _has_broken(self, phase: Phase) -> bool:
        from_s, until_s = phase.seconds(self._started_s)
        if until_s <= from_s:
            return False  # shorter than a second: no figures
        counts = self._histogram.total(None, from_s, until_s)
        p99_ms = counts.percentile_ms(99)
        is_slow = p99_ms is None or p99_ms > self._under_s * 1e3 * _BROKEN_OF_BOUND
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
