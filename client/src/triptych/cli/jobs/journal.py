"""The journal of a job: its answers so far in a file of JSON lines, one per photo, which survives the process.

A killed process leaves at most a torn last line. Resuming drops this line and the failures that are tried again.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from io import FileIO
from typing import TYPE_CHECKING, Any

from triptych.cli.exit_codes import CommandFailed, WrongUsage
from triptych.errors import ImageTooLarge, UnreadableImage

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from types import TracebackType

# Final refusals: the server would refuse the photo again.
_FINAL = {error.__name__ for error in (UnreadableImage, ImageTooLarge)}

# Start of every line. A crashed machine may leave zeros in place of data that it had not written.
_BEGIN = b'{"photo": '


class Journal:
    """An output file of JSON lines to which answers are added.

    Attributes:
        path: of the file.
        answered: names of photos with an answer from an earlier run.
        refused: names of photos that the server refused finally in an earlier run.
    """

    def __init__(self, path: str, *, resume: bool) -> None:
        """Creates the file, or resumes it.

        Raises:
            WrongUsage: the file cannot be written, has other content, is being written by another run, or has answers
                and `resume` is not set.
        """
        self.path = path
        self.answered: set[str] = set()
        self.refused: set[str] = set()
        try:
            self._file = FileIO(path, "ab+") if _may_hold_answers(path) else FileIO(path, "wb")
            try:
                self._take_up(resume)
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise WrongUsage(f"{path!r} cannot be written ({error.strerror or error}). Choose another file.") from error

    def __contains__(self, name: str) -> bool:
        return name in self.answered or name in self.refused

    def add(self, line: str) -> None:
        """Writes one line of JSON; the line survives a killed process, but perhaps not a crashed machine.

        Raises:
            CommandFailed: it could not be written.
        """
        try:
            _write(self._file, line.encode() + b"\n")
        except OSError as error:
            raise CommandFailed(
                f"{self.path!r} cannot be written ({error.strerror or error}); it has the answers so far. "
                "Free disk space and run the command again with --resume."
            ) from error

    def close(self) -> None:
        """Flushes the answers to the disk; removes a file without answers."""
        if self._file.closed:
            return
        if os.path.isfile(self.path):
            if os.fstat(self._file.fileno()).st_size == 0:
                os.remove(self.path)
            else:
                os.fsync(self._file.fileno())
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _take_up(self, resume: bool) -> None:
        if not _may_hold_answers(self.path):
            if resume:
                raise WrongUsage(
                    f"{self.path!r} is no regular file, which --resume needs. Choose another file, or omit --resume."
                )
            return
        _lock(self._file, self.path)
        if not resume and os.path.getsize(self.path):
            raise WrongUsage(
                f"{self.path!r} exists already. Add --resume to continue it, remove it, or choose another file."
            )
        kept_bytes = whole_bytes = 0
        for entry in _read(self.path):
            whole_bytes += len(entry.line)
            kept_bytes += len(entry.line) if self._settle(entry) else 0
        if kept_bytes < whole_bytes:
            self._rewrite()
        else:
            self._file.truncate(whole_bytes)

    def _settle(self, entry: Entry) -> bool:
        """Records an answer of an earlier run; False for a line to drop: of a photo to send again, or a duplicate."""
        name = entry.fields["photo"]
        error = entry.fields.get("error")
        if name in self or (error is not None and error.get("class") not in _FINAL):
            return False
        (self.answered if error is None else self.refused).add(name)
        return True

    def _rewrite(self) -> None:
        """Replaces the file by one without the dropped lines."""
        self.answered.clear()
        self.refused.clear()
        path = f"{self.path}.tmp"
        file = FileIO(path, "wb+")
        try:
            _lock(file, self.path)
            for entry in _read(self.path):
                if self._settle(entry):
                    _write(file, entry.line)
            os.fsync(file.fileno())
            os.replace(path, self.path)
        except BaseException:
            file.close()
            os.remove(path)
            raise
        self._file.close()
        self._file = file


class Entry:
    """A line of a journal, and its fields."""

    __slots__ = ("fields", "line")

    def __init__(self, line: bytes) -> None:
        self.line = line
        self.fields: dict[str, Any] = json.loads(line)


def read_fields(path: str) -> Iterator[dict[str, Any]]:
    """The fields of each line of a journal; raises `WrongUsage` for a line that is no answer."""
    for entry in _read(path):
        yield entry.fields


def _read(path: str) -> Iterator[Entry]:
    """Each complete line; a torn last line is left out."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            is_whole = line.endswith(b"\n")
            if not is_whole and (_BEGIN.startswith(line[: len(_BEGIN)]) or not line.strip(b"\0")):
                return
            try:
                entry = Entry(line)
                is_answer = is_whole and isinstance(entry.fields["photo"], str)
            except (ValueError, KeyError, TypeError):
                is_answer = False
            if not is_answer:
                raise WrongUsage(f"Line {number} of {path!r} was not written by this command. Choose another file.")
            yield entry


def _may_hold_answers(path: str) -> bool:
    """False for a pipe or a device."""
    return os.path.isfile(path) or not os.path.exists(path)


def _write(file: FileIO, content: bytes) -> None:
    unwritten = memoryview(content)
    while unwritten:
        unwritten = unwritten[file.write(unwritten) :]


def _lock(file: FileIO, path: str) -> None:
    """Locks the file for this process; Windows has no such lock."""
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise WrongUsage(f"{path!r} is being written by another run. Wait for it, or choose another file.") from error
    except OSError:
        return  # some network file systems have none
