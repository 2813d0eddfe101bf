"""The closed loop: a fixed number of threads, each of which sends its next photo when it has its answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from loadtest.server.process import ServerProcess

if TYPE_CHECKING:  # the clients are slow to import
    from loadtest.bench.call_methods import Call


@dataclass(frozen=True)
class Measurement:
    """One variant in one round.

    Attributes:
        rate: photos per second.
        latencies_s: of each call.
        client_cpu_ms: CPU time of this process per photo.
        server_cpu_ms: CPU time of the server and its children per photo; None without a server.
        front_cpu_ms: CPU time of the server process alone, which speaks to the clients, per photo.
        stages_ms: milliseconds per request in each stage, as Triton counts them; None where they were not read.
    """

    rate: float
    latencies_s: list[float]
    client_cpu_ms: float | None = None
    server_cpu_ms: float | None = None
    front_cpu_ms: float | None = None
    stages_ms: dict[str, float] | None = None


def measure_closed_loop(
    call: Call, photos: Iterator[bytes], *, concurrency: int, batch_size: int, duration_s: float, server: ServerProcess
) -> Measurement:
    """Runs `concurrency` threads for `duration_s`.

    Raises:
        Exception: the first exception of a call, after all threads have stopped.
    """
    loop = _Loop(call, photos, batch_size, time.perf_counter() + duration_s)
    (server_cpu_s, front_cpu_s), client_cpu_s = server.cpu_s(), time.process_time()
    started = time.perf_counter()
    threads = [threading.Thread(target=loop.run) for _ in range(concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed_s = time.perf_counter() - started
    if loop.failures:
        raise loop.failures[0]
    photos_done = len(loop.latencies_s) * batch_size
    server_cpu_after_s, front_cpu_after_s = server.cpu_s()
    return Measurement(
        rate=photos_done / elapsed_s,
        latencies_s=loop.latencies_s,
        client_cpu_ms=(time.process_time() - client_cpu_s) * 1e3 / photos_done,
        server_cpu_ms=(server_cpu_after_s - server_cpu_s) * 1e3 / photos_done,
        front_cpu_ms=(front_cpu_after_s - front_cpu_s) * 1e3 / photos_done,
    )


class _Loop:
    """State that the threads of one measurement share."""

    def __init__(self, call: Call, photos: Iterator[bytes], batch_size: int, end_s: float) -> None:
        self.latencies_s: list[float] = []
        self.failures: list[Exception] = []
        self._call = call
        self._photos = photos
        self._batch_size = batch_size
        self._end_s = end_s
        self._lock = threading.Lock()

    def run(self) -> None:
        """Calls until the time is up or any thread has failed, at least once."""
        while not self.failures:
            with self._lock:
                batch = [next(self._photos) for _ in range(self._batch_size)]
            before = time.perf_counter()
            try:
                self._call(batch)
            except Exception as error:  # raised again by the main thread
                self.failures.append(error)
                return
            after = time.perf_counter()
            self.latencies_s.append(after - before)
            if after >= self._end_s:
                return
