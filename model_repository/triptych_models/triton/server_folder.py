"""A temporary folder that all instances of one server share, and no other server uses."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

_PREFIX = "triptych-server-"


def open_server_folder() -> Path:
    """Opens or creates the folder; removes the folders of servers that have ended."""
    temporary = Path(tempfile.gettempdir())
    mine = temporary / f"{_PREFIX}{_identity(os.getppid())}"
    mine.mkdir(exist_ok=True)
    for folder in temporary.glob(f"{_PREFIX}*"):
        owner = folder.name.removeprefix(_PREFIX)
        if _identity(int(owner.partition("-")[0])) != owner:
            shutil.rmtree(folder, ignore_errors=True)
    return mine


def _identity(pid: int) -> str | None:
    """Pid and start time of a process, which differ from those of a later process; None where the process has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # proc(5): the 22nd field is the start time; the second, the program's name, may hold spaces and parentheses.
    return f"{pid}-{status.rpartition(')')[2].split()[19]}"
