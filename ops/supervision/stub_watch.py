"""Finds a server's Python processes ("stubs") that have died or are stopped, which Triton before 26.04 does not notice.

Triton keeps reporting ready, and each request for such a process waits 1 s and fails.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from ops.server.python_backend import STUB

# The process of an unloaded model is a zombie too until Triton reaps it, which takes less than 1 s.
DEAD_S = 1.5
# Triton 2.51.0 fails a request after 1 s without a heartbeat. A process that continues after that ends the server
# (boost::interprocess::lock_exception) or, observed once, answers a later request with the answer of an earlier one. So
# the process is killed before.
STOPPED_S = 0.4

ZOMBIE, STOPPED = "Z", "T"


@dataclass(frozen=True)
class Stub:
    """Attributes:
    model: the name of its model in the repository.
    start_ticks: start time; with the pid, it identifies the process.
    is_stopped: True for a stopped process, False for a dead one.
    since_s: monotonic time of the first observation in this state.
    """

    pid: int
    start_ticks: int
    model: str
    is_stopped: bool = False
    since_s: float | None = None


class StubWatch:
    """Polled by the supervisor; remembers each stub, because a dead process has no command line."""

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self._seen: dict[tuple[int, int], Stub] = {}

    def failed(self, now_s: float) -> list[Stub]:
        """Returns the stubs that have been dead or stopped for too long, at each call until `forget`."""
        seen = {}
        found = []
        for pid in _children(self._server_pid):
            state, ticks = _state(pid)
            stub = self._seen.get((pid, ticks)) or _read_stub(pid, ticks)
            if stub is None:
                continue
            if state not in (ZOMBIE, STOPPED):
                stub = replace(stub, since_s=None)
            elif stub.since_s is None or stub.is_stopped != (state == STOPPED):
                stub = replace(stub, since_s=now_s, is_stopped=state == STOPPED)
            seen[pid, ticks] = stub
            if stub.since_s is not None and now_s - stub.since_s >= (STOPPED_S if stub.is_stopped else DEAD_S):
                found.append(stub)
        self._seen = seen
        return [stub for stub in found if stub.model]

    def forget(self, model: str) -> None:
        """Ignores the dead stubs of a model from now on, because the model was loaded again."""
        for key, stub in self._seen.items():
            if stub.model == model and stub.since_s is not None:
                self._seen[key] = replace(stub, model="")


def is_stopped(pid: int) -> bool:
    """Returns whether the process is stopped."""
    return _state(pid)[0] == STOPPED


def _children(pid: int) -> list[int]:
    """Returns the children of a process, from its threads or, on kernels without that list, from all processes."""
    found: list[int] = []
    try:
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # the thread has ended
                found += map(int, file.read_text().split())
    except OSError:
        return []
    if not found:
        with contextlib.suppress(psutil.Error):
            found = [child.pid for child in psutil.Process(pid).children()]
    return found


def _state(pid: int) -> tuple[str, int]:
    """Returns the state letter and the start time; ("", 0) when the process has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return "", 0
    return fields[0], int(fields[19])


def _read_stub(pid: int, ticks: int) -> Stub | None:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return None
    # `<stub> <models>/<model>/<version>/model.py <segment> ...`
    if len(words) < 2 or not words[0].endswith(STUB):
        return None
    return Stub(pid, ticks, Path(words[1]).parents[1].name)
