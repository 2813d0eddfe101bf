"""Which of a server's Python processes ("stubs") have died or stand still: Triton before 26.04 does not look.

It answers "ready" on, and each request that such a process should take waits a second and fails.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from ops.python_backend import STUB

# An unloaded model's process is a zombie too until Triton has waited for it, which it does within a second.
DEAD_S = 1.5
# 2.51.0 gives a request up after a second without a sign of life. A process that is continued after that takes the
# server down (boost::interprocess::lock_exception) or, seen once, answers a later request with what it owed an earlier
# one. So it is killed before.
STOPPED_S = 0.4

ZOMBIE, STOPPED = "Z", "T"


@dataclass(frozen=True)
class Stub:
    """Attributes:
    model: the name it serves, as the repository spells it.
    start_ticks: with the pid, never confused with a later process.
    is_stopped: it lives and was stopped; else it is dead.
    since_s: monotonic time at which it was first seen so.
    """

    pid: int
    start_ticks: int
    model: str
    is_stopped: bool = False
    since_s: float | None = None


class StubWatch:
    """Looked at again and again; remembers what it saw, because a dead process has lost its command line."""

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self._seen: dict[tuple[int, int], Stub] = {}

    def failed(self, now_s: float) -> list[Stub]:
        """Those that have been dead or stopped for too long, each look anew until `forget`."""
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
        """The model was loaded anew: what died of it is of no more interest."""
        for key, stub in self._seen.items():
            if stub.model == model and stub.since_s is not None:
                self._seen[key] = replace(stub, model="")


def is_stopped(pid: int) -> bool:
    """Whether the process lives and was stopped."""
    return _state(pid)[0] == STOPPED


def _children(pid: int) -> list[int]:
    """The kernel lists children by the thread that started them; some kernels do not, then all processes are read."""
    found: list[int] = []
    try:
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # the thread ended meanwhile
                found += map(int, file.read_text().split())
    except OSError:
        return []
    if not found:
        with contextlib.suppress(psutil.Error):
            found = [child.pid for child in psutil.Process(pid).children()]
    return found


def _state(pid: int) -> tuple[str, int]:
    """One letter and the start time; ("", 0) when it is gone."""
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
