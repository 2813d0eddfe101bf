"""Whether another process holds a file's lock. The kernel frees such a lock when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
from pathlib import Path


def is_held(file: Path) -> bool:
    """Whether somebody has the file locked for themselves; False where there is no such file."""
    try:
        with file.open("rb") as content:
            fcntl.flock(content, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two that ask at once do not see each other
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
