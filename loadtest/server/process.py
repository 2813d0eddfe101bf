"""CPU time and memory of a server process and its children on this machine."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event

import psutil

from loadtest.errors import LoadTestError

SAMPLE_S = 0.25


class ServerProcess:
    """A server process and the children it has now.

    Raises:
        LoadTestError: no process has the pid.
    """

    def __init__(self, pid: int) -> None:
        try:
            process = psutil.Process(pid)
        except psutil.NoSuchProcess as error:
            raise LoadTestError(
                f"No process has pid {pid}. Pass tritonserver's with --pid; `triptych status` shows it."
            ) from error
        self._processes = [process, *process.children(recursive=True)]

    def cpu_s(self) -> tuple[float, float]:
        """User and system time in seconds so far: of all processes, and of the server process alone."""
        each_s = [times.user + times.system for times in (process.cpu_times() for process in self._processes)]
        return sum(each_s), each_s[0]

    def memory_mb(self) -> tuple[float, float]:
        """Resident megabytes: shared pages counted in each process (RSS), and once (PSS)."""
        infos = [process.memory_full_info() for process in self._processes]
        return sum(info.rss for info in infos) / 1e6, sum(info.pss for info in infos) / 1e6


@contextmanager
def peak_memory(pid: int) -> Iterator[list[float]]:
    """Yields a list whose one element is, after the block, the growth of the server's resident memory in MB."""
    context = multiprocessing.get_context("spawn")
    stop, peak = context.Event(), context.Value("d", 0.0)
    before = _resident_mb(pid)
    sampler = context.Process(target=_sample, args=(pid, stop, peak))
    sampler.start()
    grown = [0.0]
    try:
        yield grown
    finally:
        stop.set()
        sampler.join()
        grown[0] = max(peak.value, _resident_mb(pid)) - before


def _sample(pid: int, stop: Event, peak: Synchronized[float]) -> None:
    os.nice(5)
    while not stop.wait(SAMPLE_S):
        peak.value = max(peak.value, _resident_mb(pid))


def _resident_mb(pid: int) -> float:
    """Of the server and its children; shared pages count in each process."""
    server = psutil.Process(pid)
    return sum(process.memory_info().rss for process in [server, *server.children(recursive=True)]) / 1e6
