"""The closed loop: a fixed number of threads, each of which sends its next photo when it has its answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeAlias

from loadtest.errors import LoadTestError
from loadtest.server.counters import StageTotals, stage_means, stage_totals
from loadtest.server.process import ServerProcess

COUNTED_WITHIN_S = 5
# Photos -> the answer; threads share it.
Call: TypeAlias = Callable[[list[bytes]], object]


@dataclass(frozen=True)
class Measurement:
    """One variant in one round.

    Attributes:
        rate: photos per second.
        latencies_s: of each call.
        client_cpu_ms: CPU time of this process per photo.
        server_cpu_ms: CPU time of the server and its children per photo; None without a server.
        stages_ms: milliseconds per request in each stage, as Triton counts them; None where they were not read.
    """

    rate: float
    latencies_s: list[float]
    client_cpu_ms: float | None = None
    server_cpu_ms: float | None = None
    stages_ms: dict[str, float] | None = None


# Seconds -> a measurement.
Measure: TypeAlias = Callable[[float], Measurement]


def measure_closed_loop(
    call: Call, photos: Iterator[bytes], duration_s: float, *, server: ServerProcess, concurrency: int, batch_size: int
) -> Measurement:
    """Runs `concurrency` threads for `duration_s`, each at least one call.

    Raises:
        Exception: the first exception of a call, after all threads have stopped.
    """
    latencies_s: list[float] = []
    lock = threading.Lock()
    server_cpu_s, client_cpu_s, started_s = server.cpu_s(), time.process_time(), time.perf_counter()

    def take_turns(_: int) -> None:
        after_s = started_s
        while after_s < started_s + duration_s:
            with lock:
                batch = [next(photos) for _ in range(batch_size)]
            before_s = time.perf_counter()
            call(batch)
            after_s = time.perf_counter()
            latencies_s.append(after_s - before_s)

    with ThreadPoolExecutor(concurrency) as threads:
        list(threads.map(take_turns, range(concurrency)))
    elapsed_s = time.perf_counter() - started_s
    photos_done = len(latencies_s) * batch_size
    return Measurement(
        rate=photos_done / elapsed_s,
        latencies_s=latencies_s,
        client_cpu_ms=(time.process_time() - client_cpu_s) * 1e3 / photos_done,
        server_cpu_ms=(server.cpu_s() - server_cpu_s) * 1e3 / photos_done,
    )


def with_stages(measure: Measure, http_address: str) -> Measure:
    """The same measurement with the milliseconds per request that Triton counted in each stage of `recognizer`."""

    def measure_with_stages(duration_s: float) -> Measurement:
        before = stage_totals(http_address)
        measurement = measure(duration_s)
        after = _wait_for_count(http_address, before["recognizer"]["requests"] + len(measurement.latencies_s))
        return replace(measurement, stages_ms=stage_means(before, after)["recognizer"])

    return measure_with_stages


def _wait_for_count(http_address: str, requests: int) -> StageTotals:
    """Totals once Triton has counted the requests of `recognizer`; Triton counts a request after sending its answer.

    Raises:
        LoadTestError: Triton has not counted them within `COUNTED_WITHIN_S`, so the calls reached another server.
    """
    deadline_s = time.monotonic() + COUNTED_WITHIN_S
    while (counted := (totals := stage_totals(http_address))["recognizer"]["requests"]) < requests:
        if time.monotonic() > deadline_s:
            raise LoadTestError(
                f"Triton at {http_address} counted {counted} requests of recognizer, expected {requests} "
                f"within {COUNTED_WITHIN_S} s. --target and --http must be the addresses of one server."
            )
        time.sleep(0.01)
    return totals
