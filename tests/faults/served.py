"""Servers as people start them, `triptych serve`, each with the process that supervises it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from ops.server.local_server import LocalServer
from ops.server.processes import find_stubs
from ops.server.state import ServerState, StateFolder
from ops.settings import ROOT

PATIENCE_S = 60.0
NO_DISKS: Mapping[Path, str] = MappingProxyType({})
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

    def __init__(self, state_dir: Path, supervisor: subprocess.Popen[bytes], said: Path) -> None:
        self.folder = StateFolder(state_dir)
        self.supervisor = supervisor
        self._said = said

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
        """Pids of the processes behind a model, oldest first: those being unloaded, then those that serve."""
        return _stubs(self.state.segment_prefix, model)

    def said(self) -> str:
        """What the supervisor has written so far."""
        return self._said.read_text(errors="replace")

    def inside(self, path: Path) -> Path:
        """A path as the server sees it, which may have mounts of its own."""
        return inside(self.supervisor.pid, path)

    def is_ready(self) -> bool:
        state = self.folder.read()
        return state is not None and state.phase == "ready" and state.supervisor.pid == self.supervisor.pid


@contextmanager
def serving(folder: Path, *options: str, disks: Mapping[Path, str] = NO_DISKS) -> Iterator[Served]:
    """`serve` with these options, ready; asked to stop at the end.

    Args:
        folder: for its state.
        options: of `serve`.
        disks: where it alone finds small file systems -> their sizes; the test looks through `Served.inside`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "ops", "serve", f"--state-dir={folder}", *FREE_PORTS, *options]
    said_file = folder.with_name(f"{folder.name}-said")
    with said_file.open("wb") as said:
        supervisor = subprocess.Popen(
            [*_with_disks(disks), *words], cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
    served = Served(inside(supervisor.pid, folder) if disks else folder, supervisor, said_file)
    try:
        assert wait_for(lambda: served.is_ready() or supervisor.poll() is not None), served.said()
        assert served.is_ready(), served.said()
        yield served
    finally:
        if supervisor.poll() is None:
            supervisor.send_signal(signal.SIGTERM)
        supervisor.wait(PATIENCE_S)


def inside(pid: int, path: Path) -> Path:
    """A path as a process sees it."""
    return Path(f"/proc/{pid}/root{path.absolute()}")


def can_mount() -> bool:
    """Whether this user may give a process file systems of its own."""
    if shutil.which("unshare") is None:
        return False
    words = [*_with_disks({Path("/dev/shm"): "1m"}), "true"]
    return subprocess.run(words, check=False, capture_output=True).returncode == 0


def _with_disks(disks: Mapping[Path, str]) -> list[str]:
    """What a command is begun with to see these file systems; the process that was started becomes the command."""
    if not disks:
        return []
    mounts = [f"mount -t tmpfs -o size={size} tmpfs {shlex.quote(str(path))}" for path, size in disks.items()]
    as_root = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *as_root, "--mount", "sh", "-c", " && ".join([*mounts, 'exec "$@"']), "sh"]


def stubs_of(server: LocalServer, model: str) -> list[int]:
    """Pids of the processes behind a model of a server of this process."""
    return _stubs(server.segment_prefix, model)


def _stubs(segment_prefix: str, model: str) -> list[int]:
    marker = f"models/{model}/"
    found = [stub for stub in find_stubs(segment_prefix) if any(marker in word for word in stub.cmdline())]
    return [stub.pid for stub in sorted(found, key=lambda stub: stub.create_time())]
