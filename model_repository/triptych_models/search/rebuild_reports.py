"""What `index` tells `catalogue` and its metrics of a rebuild, and the lock that lets one process rebuild at a time."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from triptych_models.catalogue.rebuild import FILE, READING, Report, Result, read_report

# A try that failed is followed by another: after so long, then twice as long, up to the last.
FIRST_RETRY_S = 5.0
LAST_RETRY_S = 60.0


class RebuildObserver(Protocol):
    """Who counts rebuilds."""

    def progressed(self, ratio: float) -> None:
        """From 0 to 1; 1 while nothing is rebuilt."""

    def ended(self, succeeded: bool) -> None:
        """A try that ended."""


class Unobserved:
    """Counts nothing."""

    def progressed(self, ratio: float) -> None:
        """See `RebuildObserver`."""

    def ended(self, succeeded: bool) -> None:
        """See `RebuildObserver`."""


class RebuildReports:
    """Of one process; its threads may not share it.

    Args:
        folder: the index's.
        log: takes one line for what went wrong here.
        observer: told of the progress too.

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
        if self.take():  # else another process works, and what stands there is true
            self._tell(phase="", retry_at=0.0)
            self._release()
        observer.progressed(1.0)

    @property
    def is_pausing(self) -> bool:
        """Whether the next try has to wait."""
        return time.monotonic() < self._retry_s

    def take(self) -> bool:
        """Whether this process may rebuild; `end` and `fail` give that back."""
        if not self._lock():
            return False
        if self._is_written:
            self.report = read_report(self._path) or self.report
        return True

    def mend(self) -> None:
        """Writes again what could not be written: else nobody would learn how the last rebuild ended."""
        if not self._is_written and self._lock():
            self._tell()
            self._release()

    def begin(self, rebuild: str, started_at: float) -> None:
        """The work on an epoch begins."""
        self._tell(rebuild=rebuild, started_at=started_at, phase=READING, done=0, total=0, retry_at=0.0)

    def advance(self, phase: str, done: int, total: int) -> None:
        """So many rows of so many are through a phase."""
        self._tell(phase=phase, done=done, total=total)

    def end(self, photos: int) -> float:
        """The new index is searched and saved; returns the seconds since it was due."""
        self._pause_s, self._retry_s = FIRST_RETRY_S, 0.0
        result = Result(self.report.rebuild, photos, self._seconds(), time.time())
        self._conclude(result, built=self.report.rebuild)
        return result.seconds

    def fail(self, sentence: str) -> None:
        """The try failed, why is for the caller; another follows."""
        self._retry_s = time.monotonic() + self._pause_s
        result = Result(self.report.rebuild, 0, self._seconds(), time.time(), sentence)
        self._conclude(result, retry_at=time.time() + self._pause_s)
        self._pause_s = min(LAST_RETRY_S, 2 * self._pause_s)

    def close(self) -> None:
        self._file.close()

    def _conclude(self, result: Result, **changes: Any) -> None:
        self._tell(phase="", done=0, total=0, last=result, **changes)
        self._release()
        self._observer.ended(not result.error)
        if result.error:
            self._observer.progressed(0.0)

    def _seconds(self) -> float:
        return round(max(0.0, time.time() - self.report.started_at), 3)

    def _lock(self) -> bool:
        try:
            fcntl.flock(self._file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(self) -> None:
        fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)

    def _tell(self, **changes: Any) -> None:
        self.report = dataclasses.replace(self.report, **changes)
        try:
            os.pwrite(self._file.fileno(), self.report.encode(), 0)
        except OSError as error:
            if self._is_written:
                self._log(f"catalogue: how far a rebuild is cannot be written: {error}")
            self._is_written = False
        else:
            self._is_written = True
        self._observer.progressed(self.report.progress)
