"""Embeddings in full precision, one row each, in a memory-mapped file, with the photos' ids in the store.

Rows are only appended, in rising order of ids; removed rows are marked. The file is locked while it is open, so that
only one process appends to it. Rows that were read from a saved file are compared with their checksums at first use.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from pathlib import Path

import numpy as np

from triptych_models.catalogue.files.checksums import Checksums, Flags, PhotoRows
from triptych_models.catalogue.records import Floats, Ids

# The file grows by at least this many rows; unused rows take disk space and no memory.
GROWTH_ROWS = 4096
_CHUNK_ROWS = 4096
_NO_ROWS = np.empty(0, np.int64)


def unit(vector: Floats) -> Floats:
    """The vector scaled to L2 norm 1; a vector of length 0 is unchanged."""
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length else vector, np.float32)


def new_rows() -> tuple[Ids, Ids, Flags, Checksums]:
    """The arrays of a file without rows: ids, product keys, flags, checksums."""
    empty = np.empty(0, np.int64)
    return empty, empty, empty.astype(np.bool_), empty.astype(np.uint32)


class VectorsTaken(Exception):
    """Another process has this file open."""


class Vectors:
    """The rows 0 to `count`.

    Args:
        file: created where it is missing.
        dimension: dimension of an embedding.
        ids: ids of the existing rows.
        products: product key of each row.
        alive: whether each row's photo still exists.
        checksums: of each row.

    Attributes:
        alive: bool[count], False for removed rows.
        unchecked: number of rows that were not compared with their checksums yet.

    Raises:
        VectorsTaken: another process has the file open.
        OSError: the file cannot be created.
    """

    def __init__(self, file: Path, dimension: int, ids: Ids, products: Ids, alive: Flags, checksums: Checksums) -> None:
        self.file = file
        self.dimension = dimension
        self.count = len(ids)
        self._file = file.open("a+b")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise VectorsTaken(str(file)) from error
        self._capacity = 0
        self._ids, self._products, self._alive = ids.copy(), products.copy(), alive.copy()
        self._checksums, self._sound = checksums.copy(), np.zeros(self.count, np.bool_)
        self.unchecked = self.count
        self._matrix: Floats = np.empty((0, dimension), np.float32)
        if self.count:
            self._map(self.count)

    @property
    def ids(self) -> Ids:
        return self._ids[: self.count]

    @property
    def products(self) -> Ids:
        return self._products[: self.count]

    @property
    def alive(self) -> Flags:
        return self._alive[: self.count]

    @property
    def checksums(self) -> Checksums:
        return self._checksums[: self.count]

    @property
    def matrix(self) -> Floats:
        return self._matrix[: self.count]

    def append(self, added: PhotoRows) -> None:
        """Appends rows; those that are not sound count as removed.

        Raises:
            OSError: the disk is full; no row was appended.
        """
        stop = self.count + len(added.ids)
        if stop > self._capacity:
            self._map(max(stop, self._capacity + GROWTH_ROWS, self._capacity * 5 // 4))
        rows = slice(self.count, stop)
        self._matrix[rows] = added.embeddings if added.sound.any() else 0.0
        self._ids[rows], self._products[rows], self._alive[rows] = added.ids, added.products, added.sound
        self._checksums[rows], self._sound[rows] = added.checksums, True
        self.count = stop

    def find_damaged(self, rows: Ids) -> Ids:
        """Those of these rows that do not match their checksums; a row that matched is not compared again."""
        if not self.unchecked:
            return _NO_ROWS
        fresh = rows[~self._sound[rows]]
        content = np.asarray(self._matrix).view(np.uint8)
        crc32 = zlib.crc32
        found = np.fromiter((crc32(content[row]) for row in fresh.tolist()), np.uint32)
        matches = found == self._checksums[fresh]
        self._settle(fresh[matches])
        damaged: Ids = fresh[~matches]
        return damaged

    def next_unchecked(self, limit: int) -> Ids:
        """The first rows that were not compared yet."""
        return np.flatnonzero(~self._sound[: self.count])[:limit]

    def replace(self, rows: Ids, matrix: Floats, checksums: Checksums) -> None:
        """Writes damaged rows again."""
        self._matrix[rows], self._checksums[rows] = matrix, checksums
        self._settle(rows)

    def abandon(self, rows: Ids) -> None:
        """Marks damaged rows that have no sound copy as removed."""
        self._matrix[rows], self._alive[rows] = 0.0, False
        self._checksums[rows] = zlib.crc32(bytes(self.dimension * 4))
        self._settle(rows)

    def _settle(self, rows: Ids) -> None:
        self._sound[rows] = True
        self.unchecked -= len(rows)

    def remove(self, ids: Ids) -> None:
        self._alive[self.rows_of(ids)] = False

    def rows_of(self, ids: Ids) -> Ids:
        """The rows of the ids that exist here."""
        if not self.count:
            return np.empty(0, np.int64)
        rows = np.searchsorted(self.ids, ids)
        rows[rows == self.count] = 0
        there: Ids = rows[self.ids[rows] == ids]
        return there

    def score(self, rows: Ids, query: Floats) -> Floats:
        """float32[len(rows)]: cosine with a query of L2 norm 1."""
        if len(rows) == self.count:
            return self.matrix @ query
        parts = [self._matrix[rows[at : at + _CHUNK_ROWS]] @ query for at in range(0, len(rows), _CHUNK_ROWS)]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)

    def sync(self) -> None:
        if isinstance(self._matrix, np.memmap):
            self._matrix.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._matrix = np.empty((0, self.dimension), np.float32)
        self._file.close()

    def _map(self, capacity: int) -> None:
        size_bytes = capacity * self.dimension * 4
        # Allocated, not only lengthened: a write to a page without disk space would kill the process.
        os.posix_fallocate(self._file.fileno(), 0, size_bytes)
        self._matrix = np.memmap(self._file, np.float32, "r+", shape=(capacity, self.dimension))
        for name in ("_ids", "_products", "_alive", "_checksums", "_sound"):
            old = getattr(self, name)
            new = np.zeros(capacity, old.dtype)
            new[: len(old)] = old[:capacity]
            setattr(self, name, new)
        self._capacity = capacity
