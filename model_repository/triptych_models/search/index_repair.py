"""Damage to the saved index: what is named in the log, and rows that are read from the store again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from triptych_models.catalogue.records import Ids
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.search.vectors import Vectors

_SHOWN = 5
# A store's query names at most this many ids.
_BATCH_ROWS = 1024


class IndexRepair:
    """Repairs from a store, while the store's lock is held.

    Args:
        store: the source of truth.
        log: writes one line about each damage.
    """

    def __init__(self, store: SqliteCatalogueStore, log: Callable[[str], None]) -> None:
        self._store = store
        self.log = log

    def mend(self, vectors: Vectors, rows: Ids) -> Ids:
        """Writes damaged rows again; returns those that have no sound copy and count as removed now."""
        lost = [self._mend(vectors, rows[at : at + _BATCH_ROWS]) for at in range(0, len(rows), _BATCH_ROWS)]
        without = np.concatenate(lost)
        shown = f"{', '.join(map(str, rows[:_SHOWN]))}{', ...' if len(rows) > _SHOWN else ''}"
        # Rows of deleted photos have no copy and need none.
        self.log(
            f"catalogue: {vectors.file} is damaged: {len(rows)} rows ({shown}) do not match their checksums; "
            f"{len(rows) - len(without)} were read from the catalogue again, {len(without)} are left out"
        )
        return without

    def _mend(self, vectors: Vectors, rows: Ids) -> Ids:
        found = self._store.rows_of(vectors.ids[rows])
        places = vectors.rows_of(found.ids)
        vectors.abandon(np.setdiff1d(rows, places[found.sound]))
        if found.sound.any():
            vectors.replace(places[found.sound], found.embeddings[found.sound], found.checksums[found.sound])
        return np.setdiff1d(rows, places[found.sound])
