"""`supervisor.log` in the state folder: what the supervisor did, in the foreground too. Never raises."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
from datetime import datetime, timezone
from pathlib import Path

from ops.server.files.private_files import PRIVATE_FILE


class SupervisorLog:
    """The log of one supervisor, to which a reload also writes.

    Args:
        file: the log.
        is_new: whether to begin a new log; the former one becomes `supervisor.previous.log`. The caller owns the state
            folder.
    """

    def __init__(self, file: Path, *, is_new: bool = True) -> None:
        self._file = file
        if is_new:
            with contextlib.suppress(OSError):  # there is none, or the disk is full
                file.replace(file.with_suffix(".previous.log"))

    def write(self, text: str) -> None:
        """Adds lines, the first with the time; a full disk or a removed folder costs the lines."""
        at = datetime.now(timezone.utc).isoformat(timespec="seconds")
        with contextlib.suppress(OSError):
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
            with open(descriptor, "w", encoding="utf-8", errors="backslashreplace") as log:
                log.write(f"{at} {text.rstrip()}\n")


def leave_starter() -> None:
    """Ends the output to `serve --detach`, which reads it from a file without a name until the server is ready."""
    output = os.fstat(2)
    if stat.S_ISREG(output.st_mode) and output.st_nlink == 0:
        sys.stdout.flush()
        with open(os.devnull, "w") as nothing:
            for stream in (1, 2):
                os.dup2(nothing.fileno(), stream)
