"""Locks on files, which end with the process that holds them, and which process that is."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from ops.server.processes import ProcessIdentity

KERNEL_LOCKS = Path("/proc/locks")


def lock_file(file: Path, mode: int) -> int | None:
    """Returns the descriptor of the locked file, or None while another process holds the lock.

    Args:
        file: is created if there is none.
        mode: of a file that is created.

    Raises:
        OSError: the file cannot be opened.
    """
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, mode)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if is_same_file(descriptor, file):
            return descriptor
        os.close(descriptor)  # somebody removed the file in between


def is_same_file(descriptor: int, file: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except OSError:
        return False


def find_holder(file: Path) -> ProcessIdentity | None:
    """Returns the process that holds the lock, from the kernel's list; None if nobody does or the list is not there."""
    try:
        named = file.stat()
        locks = KERNEL_LOCKS.read_text().splitlines()
    except OSError:
        return None
    for line in locks:
        words = line.split()  # proc(5): 1: FLOCK ADVISORY WRITE <pid> <major>:<minor>:<inode> 0 EOF
        if len(words) > 5 and words[1] == "FLOCK" and words[5].endswith(f":{named.st_ino}"):
            holder = ProcessIdentity.of(int(words[4]))
            if holder.is_running() and _has_open(holder.pid, named):
                return holder
    return None


def _has_open(pid: int, named: os.stat_result) -> bool:
    """Whether a process has the file open: some file systems give the list other device numbers than `stat`."""
    for descriptor in Path(f"/proc/{pid}/fd").glob("*"):
        with contextlib.suppress(OSError):
            if os.path.samestat(descriptor.stat(), named):
                return True
    return False
