"""One run of MLPerf's LoadGen through the client, in a process of its own: `python -m loadtest.loadgen_process`.

Settings come on stdin, what happened goes to stdout, both JSON. LoadGen decides when which photo is sent and takes the
time from the moment it was due; a call that cannot begin then waits in our pool, which is timed as our own lag.
"""

from __future__ import annotations

import json
import queue
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import mlperf_loadgen as loadgen

from loadtest.corpus import Corpus, Drawer, Mix
from loadtest.loadgen_settings import Settings
from loadtest.traffic import NO_RETRY, RECOGNIZE, ask
from triptych import Client, TriptychError

_NS_PER_MS = 1e6
# A figure of LoadGen's summary -> ours.
_FIGURES_NS = {
    "50.00 percentile latency (ns)": "p50_ms",
    "90.00 percentile latency (ns)": "p90_ms",
    "99.00 percentile latency (ns)": "p99_ms",
    "Mean latency (ns)": "mean_ms",
}
_RATES = ("Completed samples per second", "Samples per second", "QPS w/o loadgen overhead")


@dataclass
class Calls:
    """What the calls of a run came to.

    Attributes:
        lags_ms: between LoadGen's asking and a thread's taking it up.
        served_ms: of each call alone, from taking it up to its answer.
    """

    failures: Counter[str] = field(default_factory=Counter)
    lags_ms: list[float] = field(default_factory=list)
    served_ms: list[float] = field(default_factory=list)


class Sender:
    """Threads that send photos as LoadGen asks for them."""

    def __init__(self, settings: Settings, client: Client) -> None:
        corpus = Corpus.read(Path(settings.prepared))
        self.photos = list(corpus.photos)
        self.calls = Calls()
        self._corpus = corpus
        self._client = client
        self._drawer = Drawer(corpus, Mix(repeat_share=settings.repeat_share, bad_share=0.0), settings.seed)
        self._due: queue.SimpleQueue[tuple[int, bytes, float]] = queue.SimpleQueue()
        # Offline asks for everything at once; more threads than the server has queue for would be refused.
        threads = settings.threads if settings.scenario == "Server" else 16
        for _ in range(threads):
            threading.Thread(target=self._send, daemon=True).start()

    def issue(self, samples: list[Any]) -> None:
        """LoadGen asks for these now."""
        now_s = time.perf_counter()
        for sample in samples:
            content = self._drawer.content_of(self.photos[sample.index])
            self._due.put((sample.id, content, now_s))

    def _send(self) -> None:
        while True:
            number, content, asked_s = self._due.get()
            taken_s = time.perf_counter()
            try:
                ask(self._client, RECOGNIZE, content)
            except TriptychError as error:
                self.calls.failures[type(error).__name__] += 1
            done_s = time.perf_counter()
            self.calls.lags_ms.append((taken_s - asked_s) * 1e3)
            self.calls.served_ms.append((done_s - taken_s) * 1e3)
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(number, 0, 0)])


def run(settings: Settings) -> dict[str, Any]:
    """Runs LoadGen; returns its figures and ours."""
    with (
        tempfile.TemporaryDirectory() as logs,
        Client(settings.target, timeout_s=settings.timeout_s, retry=NO_RETRY) as client,
    ):
        sender = Sender(settings, client)
        client.recognize(sender._corpus.photos[sender.photos[0]])  # connects and checks the contract
        system = loadgen.ConstructSUT(sender.issue, lambda: None)
        library = loadgen.ConstructQSL(len(sender.photos), len(sender.photos), lambda _: None, lambda _: None)
        started_s = time.perf_counter()
        loadgen.StartTestWithLogSettings(system, library, _test_settings(settings), _log_settings(logs))
        elapsed_s = time.perf_counter() - started_s
        loadgen.DestroyQSL(library)
        loadgen.DestroySUT(system)
        summary = read_summary(Path(logs) / "mlperf_log_summary.txt")
    calls = sender.calls
    return {
        "settings": asdict(settings),
        "photos": len(calls.served_ms),
        "elapsed_s": elapsed_s,
        "failures": dict(calls.failures),
        "lags_ms": _percentiles(calls.lags_ms),
        "served_ms": _percentiles(calls.served_ms),
        "summary": summary,
    }


def read_summary(file: Path) -> dict[str, Any]:
    """The lines `name : value` of LoadGen's summary that we know, in our names.

    Raises:
        KeyError: LoadGen wrote no percentiles.
    """
    lines = file.read_text(encoding="utf-8").splitlines()
    values = {name.strip(): value.strip() for name, separator, value in (line.partition(":") for line in lines)}
    figures: dict[str, Any] = {
        ours: float(values[name]) / _NS_PER_MS for name, ours in _FIGURES_NS.items() if name in values
    }
    if "p50_ms" not in figures:
        raise KeyError(f"no percentiles in {file}: {lines[:40]}")
    figures["completed_per_s"] = next((float(values[name]) for name in _RATES if name in values), None)
    figures["result"] = values.get("Result is")
    return figures


def _test_settings(settings: Settings) -> Any:
    test = loadgen.TestSettings()
    test.scenario = getattr(loadgen.TestScenario, settings.scenario)
    test.mode = loadgen.TestMode.PerformanceOnly
    test.min_duration_ms = round(settings.duration_s * 1e3)
    test.min_query_count = 1
    test.server_target_qps = test.offline_expected_qps = settings.rate
    test.server_target_latency_ns = round(settings.under_s * 1e9)
    test.server_target_latency_percentile = settings.fast_share
    test.multi_stream_samples_per_query = settings.samples_per_query
    test.qsl_rng_seed, test.sample_index_rng_seed, test.schedule_rng_seed = (settings.seed + n for n in range(3))
    return test


def _log_settings(folder: str) -> Any:
    logs = loadgen.LogSettings()
    output = loadgen.LogOutputSettings()
    output.outdir = folder
    output.copy_summary_to_stdout = False
    logs.log_output = output
    logs.enable_trace = False
    return logs


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    last = len(ordered) - 1
    return {
        "p50": round(ordered[last // 2], 3),
        "p99": round(ordered[round(last * 0.99)], 3),
        "max": round(ordered[-1], 3),
        "mean": round(sum(ordered) / len(ordered), 3),
    }


if __name__ == "__main__":
    print(json.dumps(run(Settings(**json.load(sys.stdin)))))
