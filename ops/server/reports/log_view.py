"""Shows the logs of a state folder: the supervisor's and the server's, and those of the run before."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from ops.errors import OpsError
from ops.server.logs import LogReader
from ops.server.state import StateFolder
from ops.settings import LogLevel

FOLLOW_INTERVAL_S = 0.2


def show_logs(folder: StateFolder, count: int, level: LogLevel, *, previous: bool, forever: bool) -> Iterator[str]:
    """Yields the last lines of both logs under a heading each, and with `forever` each later line of either.

    Args:
        folder: of the server.
        count: last lines of each log.
        level: least severe line of the server's log.
        previous: whether to show the logs of the run before.
        forever: whether to go on, also over restarts.

    Raises:
        OpsError: there is no log.
    """
    server, supervisor = folder.log_file, folder.supervisor_log_file
    if previous:
        server, supervisor = folder.previous_log_file, folder.previous_supervisor_log_file
    if not server.is_file() and not supervisor.is_file():
        run = "two servers were" if previous else "server was"
        raise OpsError(
            f"There is no log {server}: no {run} started with this state folder. Start one with `triptych "
            "serve`, or name the folder of another with --state-dir."
        )
    logs = [_Log(server, level), _Log(supervisor), *([] if previous else [_Log(folder.front_log_file)])]
    for log in logs:
        lines = list(log.read_new())[-count:]
        if lines and count:
            yield f"==> {log.file} <=="
            yield from lines
    while forever:
        time.sleep(FOLLOW_INTERVAL_S)
        for log in logs:
            yield from log.read_new()


def read_last_lines(file: Path, count: int) -> list[str]:
    """Returns the last lines of a log; none if there is no log."""
    try:
        return file.read_text(errors="replace").splitlines()[-count:]
    except OSError:
        return []


class _Log:
    """A log file that another process writes, and replaces by a new one at a restart.

    Args:
        file: the log.
        level: least severe line of Triton's log, whose tables are left out; None shows every line of another log.
    """

    def __init__(self, file: Path, level: LogLevel | None = None) -> None:
        self.file = file
        self._level = level
        self._inode: int | None = None
        self._begin()

    def _begin(self) -> None:
        self._reader = LogReader(self.file, has_gpu=False)
        self._read_bytes = 0

    def read_new(self) -> Iterator[str]:
        """Yields the complete lines since the last call."""
        try:
            now = self.file.stat()
        except OSError:  # there is none yet, or no longer
            return
        read_bytes = max(self._reader.offset, self._read_bytes)
        if self._inode is not None and (now.st_ino != self._inode or now.st_size < read_bytes):
            self._begin()
        self._inode = now.st_ino
        if self._level is not None:
            yield from (str(line) for line in self._reader.read_new() if line.is_shown(self._level))
            return
        with self.file.open("rb") as log:
            log.seek(self._read_bytes)
            whole, end, _ = log.read().rpartition(b"\n")
        self._read_bytes += len(whole) + len(end)
        if end:
            yield from whole.decode(errors="replace").split("\n")
