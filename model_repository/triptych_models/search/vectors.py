"""Embeddings in full precision, row by row in a memory-mapped file, with the ids they have in the store.

Rows are only added, in rising order of ids; a removed one is marked. The file is held by a lock for as long as it is
open, so that two processes never add to the same one.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from triptych_models.catalogue.records import Floats, Ids

# The file grows by so many rows; untouched ones take room on the disk and none in memory.
GROWTH_ROWS = 4096
_CHUNK_ROWS = 4096


def unit(vector: Floats) -> Floats:
    """float32[D] of L2 norm 1; one without a direction stays as it is."""
    length = float(np.linalg.norm(vector))
    return np.asarray(vector / length if length else vector, np.float32)


class VectorsTaken(Exception):
    """Another process adds to this file."""


class Vectors:
    """The rows 0 to `count`.

    Args:
        file: made when it is not there.
        ids: of the rows that are there.
        products: key of the product of each.

    Attributes:
        alive: bool[count], False for what was removed.

    Raises:
        VectorsTaken: another process has the file open.
        OSError: it cannot be made.
    """

    def __init__(self, file: Path, dimension: int, ids: Ids, products: Ids, alive: npt.NDArray[np.bool_]) -> None:
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
    def alive(self) -> npt.NDArray[np.bool_]:
        return self._alive[: self.count]

    @property
    def matrix(self) -> Floats:
        return self._matrix[: self.count]

    def append(self, ids: Ids, products: Ids, matrix: Floats) -> None:
        """Raises:
        OSError: the disk is full; nothing was added.
        """
        stop = self.count + len(ids)
        if stop > self._capacity:
            self._map(max(stop, self._capacity + GROWTH_ROWS, self._capacity * 5 // 4))
        rows = slice(self.count, stop)
        self._matrix[rows], self._ids[rows], self._products[rows], self._alive[rows] = matrix, ids, products, True
        self.count = stop

    def remove(self, ids: Ids) -> None:
        self._alive[self.rows_of(ids)] = False

    def rows_of(self, ids: Ids) -> Ids:
        """The rows of those ids that are there."""
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
        # Reserved, not only lengthened: to write to a page that a full disk has no room for would kill the process.
        os.posix_fallocate(self._file.fileno(), 0, size_bytes)
        self._matrix = np.memmap(self._file, np.float32, "r+", shape=(capacity, self.dimension))
        for name in ("_ids", "_products", "_alive"):
            old = getattr(self, name)
            new = np.zeros(capacity, old.dtype)
            new[: len(old)] = old[:capacity]
            setattr(self, name, new)
        self._capacity = capacity
