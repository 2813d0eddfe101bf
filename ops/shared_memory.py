"""Names the shared memory of one run so that whoever comes later can tell whether its owner still lives."""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from pathlib import Path

from ops.processes import ProcessIdentity

SHARED_MEMORY = Path("/dev/shm")
_NAME = re.compile(r"^triptych_(?P<space>\d+)_(?P<pid>\d+)_(?P<ticks>\d+)_[0-9a-f]{8}_")


def new_prefix() -> str:
    """`triptych_<pid namespace>_<pid>_<start ticks>_<random>_` of this process.

    The namespace, because containers may share /dev/shm and not see each other's processes.
    """
    owner = ProcessIdentity.of(os.getpid())
    return f"triptych_{_pid_namespace()}_{owner.pid}_{owner.start_ticks}_{uuid.uuid4().hex[:8]}_"


def remove_segments(prefix: str, folder: Path = SHARED_MEMORY) -> None:
    for segment in folder.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            segment.unlink()


def remove_abandoned(folder: Path = SHARED_MEMORY) -> None:
    """Removes the segments whose owner, in this process's own namespace, is dead."""
    for segment in folder.glob("triptych_*"):
        name = _NAME.match(segment.name)
        if name and int(name["space"]) == _pid_namespace():
            owner = ProcessIdentity(int(name["pid"]), int(name["ticks"]))
            if not owner.is_running():
                with contextlib.suppress(OSError):
                    segment.unlink()


def _pid_namespace() -> int:
    return Path("/proc/self/ns/pid").stat().st_ino
