"""Servers as people start them, `python -m ops serve`, each with the process that supervises it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.local_server import LocalServer
from ops.processes import find_stubs
from ops.settings import ROOT
from ops.state import ServerState, StateFolder

PATIENCE_S = 60.0
FREE_PORTS = ("--http-port=0", "--grpc-port=0", "--metrics-port=0")


def wait_for(condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.05)
    return False


class Served:
    """One server and its supervisor."""

    def __init__(self, state_dir: Path, supervisor: subprocess.Popen[bytes]) -> None:
        self.folder = StateFolder(state_dir)
        self.supervisor = supervisor

    @property
    def state(self) -> ServerState:
        state = self.folder.read()
        assert state is not None, self.said()
        return state

    @property
    def target(self) -> str:
        return self.state.ports.grpc_target

    @property
    def server_pid(self) -> int:
        assert self.state.server is not None
        return self.state.server.pid

    def stubs(self, model: str) -> list[int]:
        """Pids of the processes behind a model, oldest first."""
        return _stubs(self.state.segment_prefix, model)

    def said(self) -> str:
        """What the supervisor has written so far."""
        return (self.folder.folder / "said").read_text(errors="replace")

    def is_ready(self) -> bool:
        state = self.folder.read()
        return state is not None and state.phase == "ready"


@contextmanager
def serving(folder: Path, *options: str) -> Iterator[Served]:
    """`serve` with these options, ready; asked to stop at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "ops", "serve", f"--state-dir={folder}", *FREE_PORTS, *options]
    with (folder / "said").open("wb") as said:
        supervisor = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    served = Served(folder, supervisor)
    try:
        assert wait_for(lambda: served.is_ready() or supervisor.poll() is not None), served.said()
        assert served.is_ready(), served.said()
        yield served
    finally:
        if supervisor.poll() is None:
            supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(PATIENCE_S)


def stubs_of(server: LocalServer, model: str) -> list[int]:
    """Pids of the processes behind a model of a server of this process."""
    return _stubs(server.segment_prefix, model)


def _stubs(segment_prefix: str, model: str) -> list[int]:
    marker = f"/serving/{model}/"
    found = [stub for stub in find_stubs(segment_prefix) if any(marker in word for word in stub.cmdline())]
    return sorted(stub.pid for stub in found)
