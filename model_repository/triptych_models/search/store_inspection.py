"""Compares every stored photo with its checksums once after a start, a few in each round of background work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from triptych_models.catalogue.maintenance.verification import compare_rows
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import StoreFault

# 20 ms of one core and 5 MB of the disk in each round of 0.25 s: 100,000 photos in half a minute.
ROWS = 1000
_SHOWN = 20


class StoreInspection:
    """One inspection.

    Args:
        folder: folder of the catalogue.
        log: writes one line about each damaged photo.
    """

    def __init__(self, folder: Path, log: Callable[[str], None]) -> None:
        self._folder = folder
        self._log = log
        self._after = self._damaged = 0
        self.is_over = False

    def step(self) -> None:
        """Compares the next photos; nothing once all were compared."""
        if self.is_over:
            return
        try:
            store = SqliteCatalogueStore(self._folder)
            try:
                with store.snapshot():
                    damage, self._after, compared = compare_rows(store, self._after, ROWS)
            finally:
                store.close()
        except StoreFault as error:
            damage, compared = [str(error)], 0
        for sentence in damage[: max(0, _SHOWN - self._damaged)]:
            self._log(f"catalogue: damaged: {sentence}; add the photo again or delete the product")
        self._damaged += len(damage)
        self.is_over = not compared
        if self.is_over and self._damaged > _SHOWN:
            self._log(f"catalogue: {self._damaged} photos are damaged; `triptych catalogue verify` names them all")
