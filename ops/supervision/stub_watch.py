"""Finds a server's Python processes ("stubs") that have died or are stopped, which Triton before 26.04 does not notice.

Triton keeps reporting ready, and each request for such a process waits 1 s and fails.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ops.server.processes import STOPPED, ZOMBIE, ProcessIdentity, list_children, read_stat
from ops.server.server_binary import STUB

# The process of an unloaded model is a zombie too until Triton reaps it, which takes less than 1 s.
DEAD_S = 1.5
# Triton 2.51.0 fails a request after 1 s without a heartbeat. A process that continues after that ends the server
# (boost::interprocess::lock_exception) or, observed once, answers a later request with the answer of an earlier one. So
# the process is killed before.
STOPPED_S = 0.4


@dataclass(frozen=True)
class Stub:
    """Attributes:
    model: the name of its model in the repository.
    is_stopped: True for a stopped process, False for a dead one.
    since_s: monotonic time of the first observation in this state.
    """

    process: ProcessIdentity
    model: str
    is_stopped: bool = False
    since_s: float | None = None


class StubWatch:
    """Polled by the supervisor; remembers each stub, because a dead process has no command line."""

    def __init__(self, server_pid: int) -> None:
        self._server_pid = server_pid
        self._seen: dict[ProcessIdentity, Stub] = {}

    def failed(self, now_s: float) -> list[Stub]:
        """Returns the stubs that have been dead or stopped for too long, at each call until `forget`."""
        seen = {}
        found = []
        for pid in list_children(self._server_pid):
            state, ticks = read_stat(pid)
            process = ProcessIdentity(pid, ticks)
            stub = self._seen.get(process) or _read_stub(process)
            if stub is None:
                continue
            if state not in (ZOMBIE, STOPPED):
                stub = replace(stub, since_s=None)
            elif stub.since_s is None or stub.is_stopped != (state == STOPPED):
                stub = replace(stub, since_s=now_s, is_stopped=state == STOPPED)
            seen[process] = stub
            if stub.since_s is not None and now_s - stub.since_s >= (STOPPED_S if stub.is_stopped else DEAD_S):
                found.append(stub)
        self._seen = seen
        return [stub for stub in found if stub.model]

    def forget(self, model: str) -> None:
        """Ignores the dead stubs of a model from now on, because the model was loaded again."""
        for process, stub in self._seen.items():
            if stub.model == model and stub.since_s is not None:
                self._seen[process] = replace(stub, model="")


def _read_stub(process: ProcessIdentity) -> Stub | None:
    try:
        words = Path(f"/proc/{process.pid}/cmdline").read_text(errors="replace").split("\0")
    except OSError:
        return None
    # `<stub> <models>/<model>/<version>/model.py <segment> ...`
    if len(words) < 2 or not words[0].endswith(STUB):
        return None
    return Stub(process, Path(words[1]).parents[1].name)
