"""The report of an import, and the journal of an interrupted one. Sends nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from triptych._core.catalogue import CatalogueItem, PreparedPhoto
from triptych.errors import InvalidInput
from triptych.sources.report import Skipped, Understanding
from triptych.sources.rows import RefusedRow

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from types import TracebackType

# Photos of one upsert: 320 kB of embeddings at D = 1280. After a kill a rerun embeds at most one batch again.
BATCH = 64

Batch = list[tuple[CatalogueItem, PreparedPhoto]]


# Refused rows that a report holds; the file of refused rows has all.
REPORTED = 10_000


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The result of an import.

    Attributes:
        upserted: photos that this run added; in a dry run, those that it would add.
        skipped: photos that an earlier, interrupted run had added.
        refused: photos and rows that were not added, with reasons; the first 10,000 of them.
        refused_count: how many were not added.
        rows: rows or files that were read; 0 where that is not counted.
        passed_over: rows that were passed over, by reason with first examples.
        found: photos whose names are written in another way than those of the files, by the way.
        understanding: how the table was understood, or None.
        rejects: the file of refused rows, which can be mended and imported again; None if there is none.
        refused_rows: how many rows have refused photos or were refused as a whole.
    """

    upserted: int
    skipped: int
    refused: tuple[RefusedRow, ...] = field(repr=False)
    refused_count: int = field(default=0, repr=False)
    rows: int = field(default=0, repr=False)
    passed_over: tuple[Skipped, ...] = field(default=(), repr=False)
    found: tuple[Skipped, ...] = field(default=(), repr=False)
    understanding: Understanding | None = field(default=None, repr=False)
    rejects: str | None = field(default=None, repr=False)
    refused_rows: int = field(default=0, repr=False)


class Journal:
    """The rows that are in the catalogue, one per line; survives a killed process.

    A row is written when the server has acknowledged it. After a kill in between, the next run adds the row again,
    which has no effect.
    """

    def __init__(self, path: str, target: str) -> None:
        """Creates the file, or resumes it.

        Raises:
            InvalidInput: the file cannot be written, has other content, or is of an import into another server.
        """
        self.path = path
        self._done: set[str] = set()
        try:
            self._file = io.FileIO(path, "ab+")
        except OSError as error:
            raise InvalidInput(
                f"The journal {path!r} cannot be written ({error.strerror or error}). "
                "Pass another (`journal=...`, `--journal`)."
            ) from error
        try:
            self._take_up(target)
        except BaseException:
            self._file.close()
            raise

    def __contains__(self, key: str) -> bool:
        return key in self._done

    def __len__(self) -> int:
        return len(self._done)

    def add(self, keys: Iterable[str]) -> None:
        """Adds acknowledged rows."""
        content = memoryview("".join(f"{json.dumps({'row': key})}\n" for key in keys).encode())
        while content:
            content = content[self._file.write(content) :]

    def close(self, *, is_complete: bool) -> None:
        """Closes the file; removes it if the import is complete."""
        if not self._file.closed:
            if is_complete:
                os.remove(self.path)
            self._file.close()

    def _take_up(self, target: str) -> None:
        if sys.platform != "win32":
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InvalidInput(f"{self.path!r} is being written by another import. Wait for it.") from error
            except OSError:
                pass  # some network file systems have no locks
        self._file.seek(0)
        whole, _, _ = self._file.read().rpartition(b"\n")
        lines = whole.splitlines()
        try:
            found = None if not lines else json.loads(lines[0])["import"]
            self._done = {json.loads(line)["row"] for line in lines[1:]}
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidInput(
                f"{self.path!r} was not written by an import. Remove it, or pass another (`journal=...`, `--journal`)."
            ) from error
        if found not in (None, target) and self._done:
            raise InvalidInput(
                f"{self.path!r} is of an import into {found!r}, not {target!r}. "
                "Remove it to start again, or pass another (`journal=...`, `--journal`)."
            )
        is_new = found != target  # none, or one of an import that added nothing
        self._file.truncate(0 if is_new else len(whole) + 1)
        if is_new:
            self._file.write(f"{json.dumps({'import': target})}\n".encode())


class OpenJournal:
    """A journal during an import: removed at its end, kept after an interruption."""

    def __init__(self, path: str, target: str) -> None:
        self._journal = Journal(path, target)

    def __enter__(self) -> Journal:
        return self._journal

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._journal.close(is_complete=error is None)


def journal_path(path: str | os.PathLike[str], journal: str | os.PathLike[str] | None) -> str:
    """The path of the journal; by default beside the catalogue's file."""
    return os.fspath(journal) if journal is not None else f"{os.path.abspath(path)}.import.jsonl"


def row_key(item: CatalogueItem) -> str:
    """A key of a row that changes when the row or its photo changes."""
    said: dict[str, Any] = {"ids": item.key, "fields": dict(item.fields)}
    if isinstance(item.image, (str, os.PathLike)):
        said["photo"] = os.fspath(item.image)
        try:
            status = os.stat(item.image)
            said["file"] = [status.st_size, status.st_mtime_ns]
        except (OSError, ValueError):
            pass  # a URL, or a file whose error is reported when it is read
    elif isinstance(item.image, bytes):
        said["photo"] = hashlib.sha256(item.image).hexdigest()
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:32]
