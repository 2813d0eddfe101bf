"""The rebuild state that `index` writes for `catalogue` and metrics, and the lock that allows one rebuild at a time."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from triptych_models.catalogue.rebuild import FILE, READING, Report, Result, read_report

# Pause after a failed attempt; it doubles with each failure up to the last value.
FIRST_RETRY_S = 5.0
LAST_RETRY_S = 60.0


class RebuildObserver(Protocol):
    """Observes rebuilds, to count them."""

    def progressed(self, ratio: float) -> None:
        """Progress from 0 to 1; 1 while no rebuild runs."""

    def ended(self, succeeded: bool) -> None:
        """An attempt that ended."""


class NoObserver:
    """Ignores everything."""

    def progressed(self, ratio: float) -> None:
        """See `RebuildObserver`."""

    def ended(self, succeeded: bool) -> None:
        """See `RebuildObserver`."""


class RebuildReports:
    """The reports of one process; not for several threads at once.

    Args:
        folder: folder of the index.
        log: writes one line about a report that cannot be written.
        observer: observer of progress and attempts.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, log: Callable[[str], None], observer: RebuildObserver) -> None:
        self._log = log
        self._observer = observer
        self._path = folder / FILE
        self._file = os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0)
        self._is_written = True
        self._retry_s = 0.0
        self._pause_s = FIRST_RETRY_S
        self.report = Report()
        if self.acquire():  # otherwise another process works, and the file is correct
            self._write(phase="", retry_at=0.0)
            self._release()
        observer.progressed(1.0)

    @property
    def is_waiting(self) -> bool:
        """Whether the pause after a failure is not over."""
        return time.monotonic() < self._retry_s

    def acquire(self) -> bool:
        """Takes the lock; False where another process rebuilds. `end` and `fail` release the lock."""
        if not self._try_lock():
            return False
        if self._is_written:
            self.report = read_report(self._path) or self.report
        return True

    def retry_write(self) -> None:
        """Writes the last report again if it could not be written: callers must learn how a rebuild ended."""
        if not self._is_written and self._try_lock():
            self._write()
            self._release()

    def begin(self, rebuild: str, started_at: float) -> None:
        """Reports the start of a rebuild for an epoch."""
        self._write(rebuild=rebuild, started_at=started_at, phase=READING, done=0, total=0, retry_at=0.0)

    def advance(self, phase: str, done: int, total: int) -> None:
        """Reports the rows of a phase that are done, and their total."""
        self._write(phase=phase, done=done, total=total)

    def end(self, photos: int) -> float:
        """Reports a success: the new index is in use and saved. Returns the seconds since the request."""
        self._pause_s, self._retry_s = FIRST_RETRY_S, 0.0
        result = Result(self.report.rebuild, photos, self._seconds(), time.time())
        self._finish(result, built=self.report.rebuild)
        return result.seconds

    def fail(self, sentence: str) -> None:
        """Reports a failure with a sentence for the caller, and schedules the next attempt."""
        self._retry_s = time.monotonic() + self._pause_s
        result = Result(self.report.rebuild, 0, self._seconds(), time.time(), sentence)
        self._finish(result, retry_at=time.time() + self._pause_s)
        self._pause_s = min(LAST_RETRY_S, 2 * self._pause_s)

    def close(self) -> None:
        self._file.close()

    def _finish(self, result: Result, **changes: Any) -> None:
        self._write(phase="", done=0, total=0, last=result, **changes)
        self._release()
        self._observer.ended(not result.error)
        if result.error:
            self._observer.progressed(0.0)

    def _seconds(self) -> float:
        return round(max(0.0, time.time() - self.report.started_at), 3)

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(self) -> None:
        fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)

    def _write(self, **changes: Any) -> None:
        self.report = dataclasses.replace(self.report, **changes)
        try:
            os.pwrite(self._file.fileno(), self.report.encode(), 0)
        except OSError as error:
            if self._is_written:
                self._log(f"catalogue: cannot write the progress of the rebuild: {error}")
            self._is_written = False
        else:
            self._is_written = True
        self._observer.progressed(self.report.progress)
