"""Writes products to a catalogue until it is killed; says each acknowledged one on stdout. Run by the kill test."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from triptych_models.catalogue.records import Item
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.search.index_sync import IndexSync

DIMENSION = 32


def embedding_of(number: int) -> np.ndarray:  # type: ignore[type-arg]
    vector = np.random.default_rng(number).normal(size=DIMENSION).astype(np.float32)
    return vector / np.linalg.norm(vector)


def main(folder: Path, start: int) -> None:
    store = SqliteCatalogueStore(folder)
    sync = IndexSync(folder, DIMENSION, lambda line: None, exact_below=20)
    number = start
    while True:
        names = [f"p{number + offset}" for offset in range(3)]
        matrix = np.stack([embedding_of(number + offset) for offset in range(3)])
        store.upsert([Item(name, name, {"number": number}) for name in names], matrix, "test")
        print("upsert", number, number + 1, number + 2, flush=True)
        if number % 5 == 0:
            store.delete([f"p{number}"])
            print("delete", number, flush=True)
        sync.maintain()  # graphs and saved files are killed half-way too
        number += 3


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
