"""An import of many items: batches, refused rows, and the journal of an interrupted run. Sends nothing."""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from triptych._core.catalogue import CatalogueItem, PreparedPhoto, check_item
from triptych.catalogue.files import RefusedRow
from triptych.errors import InvalidInput, ServerFault, TriptychError
from triptych.results import Item

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from types import TracebackType

    from triptych._images.photo import ImageLike

# Photos of one upsert: 320 kB of embeddings at D = 1280. After a kill a rerun embeds at most one batch again.
BATCH = 64

Batch = list[tuple[CatalogueItem, PreparedPhoto]]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The result of an import.

    Attributes:
        upserted: photos that this run added.
        skipped: photos that an earlier, interrupted run had added.
        refused: rows that were not added, with reasons.
    """

    upserted: int
    skipped: int
    refused: tuple[RefusedRow, ...] = field(repr=False)


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


class Loading:
    """One run of an import: turns rows into batches.

    Args:
        rows: items, and rows that were refused already.
        journal: of an import that a later run may resume, or None.
    """

    def __init__(self, rows: Iterable[CatalogueItem | RefusedRow], journal: Journal | None = None) -> None:
        self._rows = rows
        self._journal = journal
        self._seen: set[tuple[str, str]] = set()
        self._asked: dict[int, tuple[int, CatalogueItem]] = {}
        self._batch: Batch = []
        self._upserted = self._skipped = 0
        self._refused: list[RefusedRow] = []

    def images(self) -> Iterator[ImageLike]:
        """The photos to be embedded, in the order of `take`."""
        number_asked = 0
        for number, row in enumerate(self._rows, start=1):
            item = self._checked(number, row)
            if item is None:
                continue
            if self._journal is not None and row_key(item) in self._journal:
                self._skipped += 1
                continue
            self._asked[number_asked] = (number, item)
            number_asked += 1
            yield item.image

    def take(self, embedded: Item[PreparedPhoto]) -> Batch | None:
        """Takes one photo's embedding; returns a batch when one is full.

        Raises:
            TriptychError: an error that does not concern this photo: the next photo would fail too.
        """
        number, item = self._asked.pop(embedded.index)
        error = embedded.error
        if error is None:
            self._batch.append((item, embedded.result()))
        elif isinstance(error, (InvalidInput, ServerFault)):
            self._refuse(number, item, error, passing=error.retryable or isinstance(error, ServerFault))
        else:
            raise error
        return self.rest() if len(self._batch) >= BATCH else None

    def rest(self) -> Batch | None:
        """The last batch, when all photos have been taken."""
        batch, self._batch = self._batch, []
        return batch or None

    def acknowledge(self, batch: Batch) -> None:
        """Records that the server has the batch."""
        self._upserted += len(batch)
        if self._journal is not None:
            self._journal.add(row_key(item) for item, _ in batch)

    def report(self) -> ImportReport:
        """The report of the rows so far."""
        return ImportReport(self._upserted, self._skipped, tuple(sorted(self._refused, key=lambda row: row.row)))

    def _checked(self, number: int, row: CatalogueItem | RefusedRow) -> CatalogueItem | None:
        if isinstance(row, RefusedRow):
            self._refused.append(row)
            return None
        if not isinstance(row, CatalogueItem):
            raise InvalidInput(f"Row {number} is a {type(row).__name__}; expected a CatalogueItem.")
        try:
            check_item(row)
        except InvalidInput as error:
            self._refuse(number, row, error)
            return None
        if row.key in self._seen:
            reason = (
                "an earlier row of this import has the same ids. Give each further photo of a product its own photo_id."
            )
            self._refuse(number, row, InvalidInput(reason))
            return None
        self._seen.add(row.key)
        return row

    def _refuse(self, number: int, item: CatalogueItem, error: TriptychError, *, passing: bool = False) -> None:
        photo = item.fields.get("photo") if isinstance(item.fields, Mapping) else None
        shown = photo if isinstance(photo, str) else None
        self._refused.append(RefusedRow(number, str(item.product_id), shown, str(error), passing, error.code))


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
