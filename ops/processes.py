"""Processes by pid *and* start time, so that a pid used again is never mistaken, and a server's stubs."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from ops.python_backend import STUB

POLL_S = 0.02
KILL_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class ProcessIdentity:
    """A process that cannot be confused with a later one of the same pid.

    Attributes:
        start_ticks: field 22 of /proc/PID/stat, clock ticks since boot; unlike a date it never shifts with the clock.
    """

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        return cls(pid, _start_ticks(pid) or 0)

    def is_running(self) -> bool:
        return _start_ticks(self.pid) == self.start_ticks

    def send(self, signal_number: int) -> None:
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)

    def wait(self, timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while self.is_running():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(POLL_S)
        return True


def _start_ticks(pid: int) -> int | None:
    """None when there is no such process, or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces and brackets
    return None if fields[0] == "Z" else int(fields[19])


def find_stubs(segment_prefix: str) -> list[psutil.Process]:
    """The Python backend's processes of the server with this shared-memory prefix, which each was started with."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if command and command[0].endswith(STUB) and any(word.startswith(segment_prefix) for word in command):
                found.append(process)
    return found


def has_dead_child(pid: int) -> bool:
    """Whether a child of `pid` has died and not been waited for."""
    with contextlib.suppress(psutil.Error):
        return any(child.status() == psutil.STATUS_ZOMBIE for child in psutil.Process(pid).children())
    return False


def kill_remains(server: ProcessIdentity | None, segment_prefix: str) -> None:
    """Kills what is left of one server, by pid; a zombie that init has yet to reap counts as gone."""
    stubs = [ProcessIdentity.of(stub.pid) for stub in find_stubs(segment_prefix)]
    remains = [*([server] if server is not None else []), *stubs]
    for process in remains:
        process.send(signal.SIGKILL)
    for process in remains:
        process.wait(KILL_TIMEOUT_S)
