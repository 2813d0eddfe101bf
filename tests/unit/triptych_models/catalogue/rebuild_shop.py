"""A catalogue whose index is rebuilt: both models' sides of it in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tests.unit.triptych_models.catalogue.rebuild_processes import DIMENSION, EXACT_BELOW, embedding_of
from triptych_models.catalogue.rebuild import IndexRebuilds
from triptych_models.catalogue.records import Floats, Item
from triptych_models.catalogue.settings import INDEX_FOLDER
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.query import SearchQuery

PHOTOS = 3000


def nothing() -> None:
    """Of a hook that is not set."""


class Watcher:
    """An observer that calls `hook` at each step of a rebuild, and remembers what it was told."""

    def __init__(self) -> None:
        self.hook: Callable[[], None] = nothing
        self.ratios: list[float] = []
        self.results: list[bool] = []

    def progressed(self, ratio: float) -> None:
        self.ratios.append(ratio)
        self.hook()

    def ended(self, succeeded: bool) -> None:
        self.results.append(succeeded)


class Shop:
    """A catalogue's folder: the connection of the model `catalogue`, and syncs of the model `index`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqliteCatalogueStore(folder)
        self.rebuilds = IndexRebuilds(self.store, folder / INDEX_FOLDER)
        self.watcher = Watcher()
        self.log: list[str] = []
        self._syncs: list[IndexSync] = []

    def open_index(self) -> IndexSync:
        sync = IndexSync(self.folder, DIMENSION, self.log.append, EXACT_BELOW, self.watcher)
        self._syncs.append(sync)
        return sync

    def write(self, *numbers: int) -> None:
        items = [Item(f"p{number}", f"p{number}") for number in numbers]
        for at in range(0, len(items), 256):
            matrix = np.stack([embedding_of(number) for number in numbers[at : at + 256]])
            self.store.upsert(items[at : at + 256], matrix, "test")

    def status(self) -> dict[str, Any]:
        return self.rebuilds.status()

    @property
    def state(self) -> str:
        return str(self.status()["state"])

    def files(self) -> list[str]:
        """Kinds of the index's files, locks left out."""
        return sorted(path.name.partition("-")[0] for path in (self.folder / INDEX_FOLDER).glob("*-*.[!l]*"))

    def close(self) -> None:
        self.watcher.hook = nothing
        for sync in self._syncs:
            sync.close()
        self.store.close()


def found(sync: IndexSync, direction: Floats) -> str:
    """The product that a search finds first."""
    with sync.lock():
        sync.catch_up()
        ids, _ = sync.index.search(direction, 1, SearchQuery())
        return str(sync.store.rows(ids.tolist()).popitem()[1][0])
