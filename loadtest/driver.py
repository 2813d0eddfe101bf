"""The closed loop: so many callers, each sending its next photo when it has its answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from loadtest.callers import Call
from loadtest.errors import LoadTestError


@dataclass(frozen=True)
class Turn:
    """What one contestant did in one turn.

    Attributes:
        rate: photos a second.
        latencies_s: of each call.
        client_cpu_ms: of this process, a photo.
        server_cpu_ms: of the server and its children, a photo; None where there is no server.
        front_cpu_ms: of the server's first process alone, which speaks to the callers.
        stages_ms: that Triton counted in each stage of a request; None where nobody asked.
    """

    rate: float
    latencies_s: list[float]
    client_cpu_ms: float | None = None
    server_cpu_ms: float | None = None
    front_cpu_ms: float | None = None
    stages_ms: dict[str, float] | None = None


class ServerProcess:
    """A server and its children, for their CPU time and memory.

    Raises:
        LoadTestError: there is no such process.
    """

    def __init__(self, pid: int) -> None:
        try:
            process = psutil.Process(pid)
        except psutil.NoSuchProcess as error:
            raise LoadTestError(
                f"No process has pid {pid}. Pass tritonserver's with --pid; `python -m ops status` shows it."
            ) from error
        self._processes = [process, *process.children(recursive=True)]

    def cpu_s(self) -> tuple[float, float]:
        """Seconds of user and system time so far: of all, and of the first process."""
        each_s = [times.user + times.system for times in (process.cpu_times() for process in self._processes)]
        return sum(each_s), each_s[0]

    def memory_mb(self) -> tuple[float, float]:
        """Resident megabytes: with shared pages counted in each process (RSS), and once (PSS)."""
        infos = [process.memory_full_info() for process in self._processes]
        return sum(info.rss for info in infos) / 1e6, sum(info.pss for info in infos) / 1e6


def closed_loop(
    call: Call, photos: Iterator[bytes], *, concurrency: int, batch_size: int, duration_s: float, server: ServerProcess
) -> Turn:
    """Runs `concurrency` callers for `duration_s`.

    Raises:
        Exception: the first that a call raised, once all callers have stopped.
    """
    loop = _Loop(call, photos, batch_size, time.perf_counter() + duration_s)
    (server_cpu_s, front_cpu_s), client_cpu_s = server.cpu_s(), time.process_time()
    started = time.perf_counter()
    callers = [threading.Thread(target=loop.run) for _ in range(concurrency)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    elapsed_s = time.perf_counter() - started
    if loop.failures:
        raise loop.failures[0]
    photos_done = len(loop.latencies_s) * batch_size
    server_cpu_after_s, front_cpu_after_s = server.cpu_s()
    return Turn(
        rate=photos_done / elapsed_s,
        latencies_s=loop.latencies_s,
        client_cpu_ms=(time.process_time() - client_cpu_s) * 1e3 / photos_done,
        server_cpu_ms=(server_cpu_after_s - server_cpu_s) * 1e3 / photos_done,
        front_cpu_ms=(front_cpu_after_s - front_cpu_s) * 1e3 / photos_done,
    )


class _Loop:
    """What the callers of one turn share."""

    def __init__(self, call: Call, photos: Iterator[bytes], batch_size: int, end_s: float) -> None:
        self.latencies_s: list[float] = []
        self.failures: list[Exception] = []
        self._call = call
        self._photos = photos
        self._batch_size = batch_size
        self._end_s = end_s
        self._taking = threading.Lock()

    def run(self) -> None:
        """One caller, until the time is up or any caller has failed; each makes one call at least."""
        while not self.failures:
            with self._taking:
                batch = [next(self._photos) for _ in range(self._batch_size)]
            before = time.perf_counter()
            try:
                self._call(batch)
            except Exception as error:  # reported by the main thread
                self.failures.append(error)
                return
            after = time.perf_counter()
            self.latencies_s.append(after - before)
            if after >= self._end_s:
                return
