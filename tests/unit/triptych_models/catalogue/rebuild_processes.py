"""What the rebuild's kill test kills: `index`, which rebuilds, and `catalogue`, which writes and asks for rebuilds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from triptych_models.catalogue.rebuild import IndexRebuilds
from triptych_models.catalogue.records import Floats, Item
from triptych_models.catalogue.settings import INDEX_FOLDER
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import RebuildRunning
from triptych_models.search.index_sync import IndexSync

DIMENSION = 32
EXACT_BELOW = 200


def embedding_of(number: int) -> Floats:
    """float32[D], L2 norm 1; another for each number."""
    vector = np.random.default_rng(number).normal(size=DIMENSION).astype(np.float32)
    unit: Floats = vector / np.linalg.norm(vector)
    return unit


def say(*words: object) -> None:
    print(*words, flush=True)


def index(folder: Path, _: int) -> None:
    """Serves as the model does, until it is killed."""
    IndexSync(folder, DIMENSION, lambda line: None, EXACT_BELOW).start()
    say("loaded")
    while True:
        time.sleep(1)


def catalogue(folder: Path, start: int) -> None:
    """Writes, deletes and asks for rebuilds, until it is killed; says each acknowledged one."""
    store = SqliteCatalogueStore(folder)
    rebuilds = IndexRebuilds(store, folder / INDEX_FOLDER)
    say("loaded")
    for number in range(start, sys.maxsize):
        store.upsert([Item(f"p{number}", f"p{number}")], embedding_of(number)[None], "test")
        say("upsert", number)
        if number % 5 == 0:
            store.delete([f"p{number}"])
            say("delete", number)
        if number % 7 == 0:
            try:
                say("rebuild", rebuilds.start()["rebuild"])
            except RebuildRunning:
                say("refused")


if __name__ == "__main__":
    roles: dict[str, Callable[[Path, int], None]] = {"index": index, "catalogue": catalogue}
    roles[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
