"""One run of an import: rows into batches, refused rows into the report and their file. Sends nothing."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from triptych._core.catalogue import CatalogueItem, PreparedPhoto, check_item
from triptych._images.photo import ImageLike
from triptych.catalogue.files import CatalogueRows, Sourced, rejects_file
from triptych.catalogue.importing import BATCH, REPORTED, Batch, ImportReport, Journal, row_key
from triptych.errors import InvalidInput, ServerFault, TriptychError
from triptych.results import Item
from triptych.sources.locations import is_url
from triptych.sources.rejects import RejectsFile
from triptych.sources.report import SkipCounter
from triptych.sources.rows import RefusedRow, Row

_RECENT = 1024  # rows whose photos may still be in flight: those of one row are refused at different times
_SAME_IDS = "an earlier row of this import has the same ids. Give each further photo of a product its own photo_id."


class Loading:
    """One run of an import: turns rows into batches.

    Args:
        rows: a catalogue, or items and rows that were refused already.
        journal: of an import that a later run may resume, or None.
        rejects: the file of refused rows, or None.
    """

    def __init__(
        self,
        rows: CatalogueRows | Iterable[CatalogueItem | RefusedRow],
        journal: Journal | None = None,
        rejects: RejectsFile | None = None,
    ) -> None:
        self._rows = rows
        self._journal = journal
        self._rejects = rejects
        self._seen = _KeySet()
        self._asked: dict[int, Sourced] = {}
        self._origins: dict[tuple[str, str], Row] = {}
        self._batch: Batch = []
        self._upserted = self._skipped = self._refused_count = self._read = 0
        self._refused: list[RefusedRow] = []
        self._notes = SkipCounter()
        self._refused_rows: deque[int] = deque(maxlen=_RECENT)
        self._refused_row_count = 0

    def images(self) -> Iterable[ImageLike]:
        """The photos to be embedded, in the order of `take`; with a length where the number of rows is known."""
        count = self._rows.rows if isinstance(self._rows, CatalogueRows) else None
        photos = self._images()
        return photos if count is None else _Counted(photos, max(0, count - len(self._journal or ())))

    def take(self, embedded: Item[PreparedPhoto]) -> Batch | None:
        """Takes one photo's embedding; returns a batch when one is full.

        Raises:
            TriptychError: an error that does not concern this photo: the next photo would fail too.
        """
        sourced = self._asked.pop(embedded.index)
        error = embedded.error
        if error is None:
            self._batch.append((sourced.item, embedded.result()))
            self._origins[sourced.item.key] = sourced.row
        elif isinstance(error, (InvalidInput, ServerFault)):
            self._refuse(sourced, error, passing=error.retryable or isinstance(error, ServerFault))
        else:
            raise error
        return self.rest() if len(self._batch) >= BATCH else None

    def rest(self) -> Batch | None:
        """The last batch, when all photos have been taken."""
        batch, self._batch = self._batch, []
        return batch or None

    def acknowledge(self, batch: Batch, refused: Mapping[int, TriptychError]) -> None:
        """Records that the server has the batch, except for items that it refused, by their place in the batch."""
        rows = [self._origins.pop(item.key) for item, _ in batch]
        for place, error in refused.items():
            self._refuse(Sourced(batch[place][0], rows[place]), error)
        added = [item for place, (item, _) in enumerate(batch) if place not in refused]
        self._upserted += len(added)
        if self._journal is not None:
            self._journal.add(row_key(item) for item in added)

    def check_all(self) -> ImportReport:
        """Reads every row and sends nothing; the report of an import in which the server accepts all photos."""
        for _ in self._images():
            _, sourced = self._asked.popitem()
            if isinstance(sourced.item.image, str) and is_url(sourced.item.image):
                self._notes.add("photos by URL, which a dry run does not fetch", f"row {sourced.row.number}")
            self._upserted += 1
        return self.report()

    def report(self) -> ImportReport:
        """The report of the rows so far; gives the file of refused rows its name."""
        rejects = None
        if self._rejects is not None:
            self._rejects.close()
            rejects = str(self._rejects.path) if self._rejects.rows and self._rejects.error is None else None
            if self._rejects.error is not None:
                self._notes.add("file of refused rows", self._rejects.error)
        refused = tuple(sorted(self._refused, key=lambda row: row.row))
        counts = (self._upserted, self._skipped, refused, self._refused_count)
        rows = self._rows
        if not isinstance(rows, CatalogueRows):
            return ImportReport(*counts, self._read, refused_rows=self._refused_row_count)
        notes = (*rows.notes, *self._notes.skipped())
        understood, number = rows.understanding, self._refused_row_count
        return ImportReport(*counts, rows.read, rows.skipped, notes, understood, rejects, number)

    def _images(self) -> Iterator[ImageLike]:
        number_asked = 0
        for sourced in self._sourced():
            if self._journal is not None and row_key(sourced.item) in self._journal:
                self._skipped += 1
                continue
            self._asked[number_asked] = sourced
            number_asked += 1
            yield sourced.item.image

    def _sourced(self) -> Iterator[Sourced]:
        """The items that can be sent; all others are refused."""
        rows = self._rows
        given: Iterable[Sourced | CatalogueItem | RefusedRow]
        given = rows.sourced() if isinstance(rows, CatalogueRows) else rows
        for number, row in enumerate(given, start=1):
            self._read = number
            if isinstance(row, RefusedRow):
                self._note(row)
                continue
            if not isinstance(row, (Sourced, CatalogueItem)):
                raise InvalidInput(f"Row {number} is a {type(row).__name__}; expected a CatalogueItem.")
            sourced = row if isinstance(row, Sourced) else Sourced(row, Row(number, None, {}))
            try:
                if sourced is not row:  # the reader has checked its own
                    check_item(sourced.item)
            except InvalidInput as error:
                self._refuse(sourced, error)
                continue
            if self._seen.add(sourced.item.key):
                yield sourced
            else:
                self._refuse(sourced, InvalidInput(_SAME_IDS))

    def _refuse(self, sourced: Sourced, error: TriptychError, *, passing: bool = False) -> None:
        item, row = sourced.item, sourced.row
        photo = item.fields.get("photo") if isinstance(item.fields, Mapping) else None
        shown = photo if isinstance(photo, str) else None
        told = (row.number, str(item.product_id), shown, str(error), passing, error.code)
        self._note(RefusedRow(*told, line=row.line, value=shown, values=row.values))

    def _note(self, refused: RefusedRow) -> None:
        self._refused_count += 1
        if refused.row not in self._refused_rows:
            self._refused_rows.append(refused.row)
            self._refused_row_count += 1
        if self._rejects is not None:
            self._rejects.add(refused)
        if len(self._refused) < REPORTED:
            self._refused.append(replace(refused, values=None))


def check_rows(rows: CatalogueRows, rejects: str | os.PathLike[str] | None) -> ImportReport:
    """A dry run: reads every row, checks that the files of photos exist, and sends nothing."""
    return Loading(rows, rejects=None if rejects is None else rejects_file(rows, rejects)).check_all()


class _Counted:
    """Photos with their approximate number, for a progress bar."""

    def __init__(self, photos: Iterator[ImageLike], count: int) -> None:
        self._photos = photos
        self._count = count

    def __iter__(self) -> Iterator[ImageLike]:
        return self._photos

    def __len__(self) -> int:
        return self._count


class _KeySet:
    """Ids seen so far, as 64-bit hashes in an open-addressed table: 12 to 24 bytes each, 1 M in at most 24 MB.

    Two of n different ids have the same hash with a probability of n^2 / 2^65: 3e-8 for 1 M.
    """

    def __init__(self) -> None:
        self._slots = array("Q", bytes(8 * 1024))  # 1024 free slots
        self._used = 0

    def add(self, key: tuple[str, str]) -> bool:
        """Adds a key; False if it was there."""
        text = "\0".join(key).encode("utf-8", "surrogatepass")
        value = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") or 1
        if not _insert(self._slots, value):
            return False
        self._used += 1
        if self._used * 3 > len(self._slots) * 2:
            slots = array("Q", bytes(16 * len(self._slots)))
            for kept in self._slots:
                if kept:
                    _insert(slots, kept)
            self._slots = slots
        return True


def _insert(slots: array[int], value: int) -> bool:
    place = value % len(slots)
    while slots[place]:
        if slots[place] == value:
            return False
        place = (place + 1) % len(slots)
    slots[place] = value
    return True
