"""CPU time and memory of a server process and its children on this machine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

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

    def cpu_s(self) -> float:
        """User and system time of all processes in seconds so far."""
        return sum(times.user + times.system for times in (process.cpu_times() for process in self._processes))

    def rss_mb(self) -> float:
        """Resident megabytes; shared pages count in each process."""
        return sum(process.memory_info().rss for process in self._processes) / 1e6

    def pss_mb(self) -> float:
        """Resident megabytes; shared pages count once."""
        return float(sum(process.memory_full_info().pss for process in self._processes) / 1e6)


@contextmanager
def peak_memory(pid: int) -> Iterator[list[float]]:
    """Yields a list whose one element is, after the block, the growth of the server's resident memory in MB."""
    server, stop, grown_mb = ServerProcess(pid), threading.Event(), [0.0]
    before_mb = server.rss_mb()

    def sample() -> None:
        while not stop.wait(SAMPLE_S):
            grown_mb[0] = max(grown_mb[0], server.rss_mb() - before_mb)

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield grown_mb
    finally:
        stop.set()
        sampler.join()
        grown_mb[0] = max(grown_mb[0], server.rss_mb() - before_mb)
