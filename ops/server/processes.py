"""Identifies a server's processes and shared-memory segments, so that cleanup never touches those of another server.

A process is identified by pid and start time, because the kernel reuses pids. A segment's name holds the identity of
its owner, so a later run can tell whether the owner is alive.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

import psutil

from ops.server.server_binary import STUB

POLL_S = 0.02
KILL_TIMEOUT_S = 5.0
SHARED_MEMORY = Path("/dev/shm")
# States of a process, as /proc/PID/stat names them.
ZOMBIE, STOPPED = "Z", "T"
_SEGMENT = re.compile(r"^triptych_(?P<space>\d+)_(?P<pid>\d+)_(?P<ticks>\d+)_[0-9a-f]{8}_")


@dataclass(frozen=True)
class ProcessIdentity:
    """A process, distinguishable from a later process with the same pid.

    Attributes:
        start_ticks: field 22 of /proc/PID/stat, clock ticks since boot; a change of the system clock does not shift it.
    """

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity:
        return cls(pid, read_stat(pid)[1])

    def is_running(self) -> bool:
        state, ticks = read_stat(self.pid)
        return ticks == self.start_ticks and state not in ("", ZOMBIE)

    def send(self, signal_number: int) -> None:
        if self.is_running():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)

    def wait(self, timeout_s: float) -> bool:
        """Returns whether the process ended within the timeout."""
        deadline_s = time.monotonic() + timeout_s
        while self.is_running():
            if time.monotonic() > deadline_s:
                return False
            time.sleep(POLL_S)
        return True


def read_stat(pid: int) -> tuple[str, int]:
    """Returns the state letter and the start time in clock ticks; ("", 0) when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return "", 0
    fields = stat.rpartition(")")[2].split()  # the process name before it may hold spaces and brackets
    return fields[0], int(fields[19])


def list_children(pid: int) -> list[int]:
    """Returns the children of a process, from its threads or, on kernels without that list, from all processes."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # the process has ended
        for file in Path(f"/proc/{pid}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # the thread has ended
                found += map(int, file.read_text().split())
    if not found:
        with contextlib.suppress(psutil.Error):
            found = [child.pid for child in psutil.Process(pid).children()]
    return found


def find_stubs(segment_prefix: str) -> list[psutil.Process]:
    """Returns the Python backend's stubs of the server with this segment prefix, which is an argument of each stub."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            command = process.cmdline()
            if command and command[0].endswith(STUB) and any(word.startswith(segment_prefix) for word in command):
                found.append(process)
    return found


def has_dead_child(pid: int) -> bool:
    """Returns whether a child of `pid` is a zombie."""
    return any(read_stat(child)[0] == ZOMBIE for child in list_children(pid))


def kill_remains(segment_prefix: str, *further: ProcessIdentity | None) -> None:
    """Kills the stubs of one server and further processes; a zombie that init has yet to reap counts as ended."""
    stubs = [ProcessIdentity.of(stub.pid) for stub in find_stubs(segment_prefix)]
    remains = [*(process for process in further if process is not None), *stubs]
    for process in remains:
        process.send(signal.SIGKILL)
    for process in remains:
        process.wait(KILL_TIMEOUT_S)


def new_prefix() -> str:
    """Returns `triptych_<pid namespace>_<pid>_<start ticks>_<random>_` for this process.

    The namespace is in it because containers may share /dev/shm without seeing each other's processes.
    """
    owner = ProcessIdentity.of(os.getpid())
    return f"triptych_{_pid_namespace()}_{owner.pid}_{owner.start_ticks}_{uuid.uuid4().hex[:8]}_"


def remove_segments(prefix: str, folder: Path = SHARED_MEMORY) -> None:
    for segment in folder.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            segment.unlink()


def close_segments(prefix: str, folder: Path = SHARED_MEMORY) -> None:
    """Takes the rights of other users from segments that `die_with_parent` could not keep private."""
    for segment in folder.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            if segment.stat().st_mode & 0o077:
                segment.chmod(0o600)


def remove_abandoned(folder: Path = SHARED_MEMORY) -> None:
    """Removes the segments whose owner, in the pid namespace of this process, is dead and whose stubs are too."""
    abandoned: dict[str, list[Path]] = {}
    for segment in folder.glob("triptych_*"):
        name = _SEGMENT.match(segment.name)
        if name and int(name["space"]) == _pid_namespace():
            owner = ProcessIdentity(int(name["pid"]), int(name["ticks"]))
            if not owner.is_running():
                abandoned.setdefault(name[0], []).append(segment)
    for prefix, segments in abandoned.items():
        for segment in segments if not find_stubs(prefix) else ():  # a server outlives its supervisor by some seconds
            with contextlib.suppress(OSError):
                segment.unlink()


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
