"""What one Locust process knows beside its users: photos, golden answers, counts, its own lag. Imports no Locust."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import gevent

from loadtest.corpus import Corpus, Drawer, Mix
from loadtest.golden import GoldenAnswers, read_golden
from loadtest.shapes import Phase, make_shape
from loadtest.tally import Tally
from loadtest.traffic import Traffic

ROOT = Path(__file__).resolve().parents[1]
_BEAT_S = 0.05
# First calls import and compile what they need, 0.1 s at once; no phase's figures begin before this either.
_SETTLE_S = 2.0
# A phase of a breakpoint run broke when this share of its calls failed, or its answers took this much of the bound.
_BROKEN_SHARE = 0.01
_BROKEN_OF_BOUND = 1.5


def add_options(parser: Any) -> None:
    """What this file's users take beside Locust's own options."""
    group = parser.add_argument_group("Triptych")
    group.add_argument("--target", default=os.environ.get("TRIPTYCH_TARGET", "127.0.0.1:8001"), help="gRPC address")
    group.add_argument(
        "--http", default=os.environ.get("TRIPTYCH_HTTP_URL", "http://127.0.0.1:8000"), help="HTTP address"
    )
    group.add_argument("--photos", default=str(ROOT / ".cache/photos"), help="folder of *.jpg")
    group.add_argument("--prepared", default="", help="folder with a corpus and golden answers")
    group.add_argument("--think-s", type=float, default=0.0, help="seconds between an answer and the next call")
    group.add_argument("--timeout-s", type=float, default=10.0, help="seconds a call may take")
    group.add_argument("--zipf", type=float, default=Mix.zipf, help="exponent of the photos' popularity")
    group.add_argument("--repeat-share", type=float, default=Mix.repeat_share, help="photos sent as before")
    group.add_argument("--bad-share", type=float, default=Mix.bad_share, help="calls that send no photo")
    group.add_argument("--seed", type=int, default=1, help="of the photos drawn")
    group.add_argument("--under-ms", type=float, default=250.0, help="the objective's bound on an answer")
    group.add_argument("--scale", type=float, default=1.0, help="of the shape's durations")
    group.add_argument("--soak-s", type=float, default=600.0, help="seconds of a soak")
    group.add_argument("--soak-users", type=int, default=1, help="users of a soak")
    group.add_argument("--outcome", default="", help="file for what happened, as JSON")


class LocustProcess:
    """State of one process.

    Attributes:
        traffic: what its users call through.
        has_catalogue: whether searches find something.
    """

    def __init__(self, environment: Any, is_worker: bool) -> None:
        options = environment.parsed_options
        self._environment = environment
        self._options = options
        self._under_s = options.under_ms / 1e3
        self._tally = Tally(self._under_s)
        self._others: dict[str, Any] = {"compared": 0, "largest": 0.0, "examples": {}, "lags_ms": []}
        prepared = Path(options.prepared) if options.prepared else None
        corpus = Corpus.read(prepared) if prepared else Corpus.make(Path(options.photos), options.seed)
        alone = read_golden(prepared / "golden.npz") if prepared else {}
        self.has_catalogue = any(kind == "search" for kind, _ in alone)
        self._golden = GoldenAnswers(alone)
        mix = Mix(options.zipf, options.repeat_share, options.bad_share)
        # Workers draw from seeds of their own, else all would send one sequence.
        seed = options.seed + (int.from_bytes(os.urandom(4), "big") if is_worker else 0)
        self.traffic = Traffic(Drawer(corpus, mix, seed), self._golden, self._tally)
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
        gevent.spawn(self._beat)

    def users_at(self, run_s: float) -> int | None:
        """Of the shape; None once it is over or what it tests has broken."""
        assert self._shape is not None
        if self._phase is None:
            self._started_s = time.time() - run_s
        phase = self._shape.phase_at(run_s)
        if self._shape.ends_at_break and self._phase is not None and phase is not self._phase:
            self._is_broken = self._broke(self._phase)
        if phase is None or self._is_broken:
            return None
        self._phase = phase
        return phase.users

    def tell(self, data: dict[str, Any]) -> None:
        """A worker's news for its master, since the last."""
        data["triptych"] = {
            "tally": self._tally.take_json(),
            "compared": self._golden.compared,
            "largest": self._golden.largest,
            "examples": self.traffic.examples,
            "lags_ms": self._lags_ms,
        }
        self._lags_ms, self._golden.compared = [], 0

    def hear(self, data: dict[str, Any]) -> None:
        """The master's side of `tell`."""
        news = data.get("triptych")
        if news is None:
            return
        self._tally.add_json(news["tally"])
        self._others["compared"] += news["compared"]
        self._others["largest"] = max(self._others["largest"], news["largest"])
        self._others["examples"] = {**news["examples"], **self._others["examples"]}
        self._others["lags_ms"] += news["lags_ms"]

    def write(self) -> None:
        """What happened, for the verdict; nothing where nobody asked for it."""
        if not self._options.outcome:
            return
        total = self._environment.stats.total
        outcome = {
            "shape": self._shape_name,
            "started_s": self._started_s,
            "phases_reached": 1 + self._shape.phases.index(self._phase) if self._shape and self._phase else 0,
            "scale": self._options.scale,
            "soak_s": self._options.soak_s,
            "soak_users": self._options.soak_users,
            "tally": self._tally.as_json(),
            "users": {str(second): users for second, users in self._users.items()},
            "compared": self._golden.compared + self._others["compared"],
            "largest": max(self._golden.largest, self._others["largest"]),
            "examples": {**self._others["examples"], **self.traffic.examples},
            "lags_ms": sorted(round(lag, 1) for lag in self._lags_ms + self._others["lags_ms"]),
            "locust": {
                "requests": total.num_requests,
                "failures": total.num_failures,
                "p50_ms": total.get_response_time_percentile(0.5),
                "p99_ms": total.get_response_time_percentile(0.99),
            },
        }
        Path(self._options.outcome).write_text(json.dumps(outcome), encoding="utf-8")

    def _broke(self, phase: Phase) -> bool:
        from_s, until_s = phase.seconds(self._started_s)
        if until_s <= from_s:
            return False  # shorter than a second: nobody knows
        cell = self._tally.total(None, from_s, until_s)
        p99_ms = cell.percentile_ms(99)
        is_slow = p99_ms is None or p99_ms > self._under_s * 1e3 * _BROKEN_OF_BOUND
        return is_slow or cell.failed > _BROKEN_SHARE * cell.calls

    def _beat(self) -> None:
        """Whether the loop turns: a greenlet that wakes up late means every user does."""
        while True:
            before = time.perf_counter()
            gevent.sleep(_BEAT_S)
            runner = self._environment.runner
            if runner is None or not runner.user_count:
                continue
            now_s = time.perf_counter()
            self._users[int(time.time())] = runner.user_count
            self._first_user_s = self._first_user_s or now_s
            if now_s > self._first_user_s + _SETTLE_S:
                self._lags_ms.append((now_s - before - _BEAT_S) * 1e3)
