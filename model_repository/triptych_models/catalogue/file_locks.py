"""Tests whether another process holds a file's lock, which the kernel releases when the process ends for any reason."""

from __future__ import annotations

import fcntl
from pathlib import Path


def is_held(file: Path) -> bool:
    """Whether a process has an exclusive lock on the file; False where the file does not exist."""
    try:
        with file.open("rb") as content:
            fcntl.flock(content, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two tests do not block each other
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
