"""How long a server with a large catalogue takes until it searches: the part of a start that grows with the catalogue.

The store and the files of the index are real, their embeddings random and the graph built with less search than the
server's (it takes hours else): their sizes are what a start depends on.
"""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from loadtest.errors import LoadTestError
from triptych_models.catalogue.records import Item
from triptych_models.catalogue.settings import INDEX_FOLDER
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.query import DEFAULT_K, SearchQuery
from triptych_models.search.saved_index import SavedIndex
from triptych_models.search.vector_index import new_graph

DIMENSION = 1280
_BATCH = 2000
_EXPANSION = 2
_SEARCHES = 50


@dataclass(frozen=True)
class Start:
    """Of one process: seconds to open what is on the disk, and to answer the first search and one after it."""

    photos: int
    opened_s: float
    first_search_s: float
    later_search_s: float


def fill(folder: Path, photos: int, console: Console) -> None:
    """A catalogue of so many photos; one that is there goes on where it was.

    Raises:
        LoadTestError: it has more.
    """
    store = SqliteCatalogueStore(folder)
    random = np.random.default_rng(8)
    there = store.count()[0]
    if there > photos:
        raise LoadTestError(f"{folder} has {there} photos, more than {photos}. Name an empty folder.")
    with Progress(console=console) as progress:
        task = progress.add_task("Storing", total=photos, completed=there)
        while there < photos:
            many = min(_BATCH, photos - there)
            vectors = random.standard_normal((many, DIMENSION), np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            items = [Item(f"sku-{n}", f"sku-{n}", {"price": n % 500}) for n in range(there, there + many)]
            store.upsert(items, vectors, "0" * 16)
            there += many
            progress.advance(task, many)
        saved = SavedIndex(folder / INDEX_FOLDER, DIMENSION)
        index, how = saved.open(store)
        if index.graph_rows < photos:
            graph = new_graph(DIMENSION)
            graph.expansion_add = _EXPANSION  # type: ignore[misc]  # it has a setter
            task = progress.add_task("Building the graph", total=photos)
            for at in range(0, photos, _BATCH):
                part = index.vectors.matrix[at : at + _BATCH]
                graph.add(np.arange(at, at + len(part)), part)
                progress.advance(task, len(part))
            file = saved.new_file("graph", "usearch")
            graph.save(str(file))
            index.use_graph(file, photos)
            saved.save(index)
        index.vectors.close()
        saved.close()
    store.close()
    console.print(f"{photos} photos in {folder} (index {how})")


def measure(folder: Path, starts: int) -> list[Start]:
    """So many starts, each in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        return [pool.apply(_start, (folder,)) for _ in range(starts)]


def _start(folder: Path) -> Start:
    query = np.random.default_rng(1).standard_normal(DIMENSION).astype(np.float32)
    query /= np.linalg.norm(query)
    at_s = time.perf_counter()
    sync = IndexSync(folder, DIMENSION, lambda line: None)
    opened_s = time.perf_counter() - at_s
    took = []
    for _ in range(_SEARCHES):
        at_s = time.perf_counter()
        sync.catch_up()
        ids, _ = sync.index.search(query, DEFAULT_K, SearchQuery())
        took.append(time.perf_counter() - at_s)
        if len(ids) != DEFAULT_K:
            raise LoadTestError(f"A search found {len(ids)} photos.")
    photos = sync.index.vectors.count
    sync.close()
    return Start(photos, opened_s, took[0], float(np.median(took[1:])))
