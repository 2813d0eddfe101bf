"""Nearest photos: exact over what is little, an approximate graph over what is much, all scored in full precision.

The graph (HNSW, half precision, read from a file as the pages are needed) covers the first rows of `Vectors`; the rows
past it are compared one by one, so what was just written is found at once. Follows the store; knows no requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from usearch.index import Index

from triptych_models.catalogue.records import Floats, Ids, Tip
from triptych_models.catalogue.settings import EXACT_BELOW
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.search.query import SearchQuery
from triptych_models.search.vectors import GROWTH_ROWS, Vectors

CONNECTIVITY = 16
EXPANSION_ADD = 128
EXPANSION_SEARCH = 128
# The graph answers with photos, some removed, filtered out, or of a product that is in the answer already.
_OVERSAMPLING = 4
_MIN_CANDIDATES = 128
_BATCH_ROWS = 4096
# About a second of work on one core.
_GRAPH_BATCH_ROWS = 1024

Flags = npt.NDArray[np.bool_]


class VectorIndex:
    """Vectors, the graph over the first `graph_rows` of them, and how far the store was followed."""

    def __init__(self, vectors: Vectors, epoch: str, exact_below: int = EXACT_BELOW) -> None:
        self.vectors = vectors
        self.epoch = epoch
        self.exact_below = exact_below
        self.graph: Index | None = None
        self.graph_file: Path | None = None
        self.graph_rows = 0
        self.tip = Tip()

    def follow(self, store: SqliteCatalogueStore) -> None:
        """Adds and removes what the store did since; a step at a time, so that it may fail and go on.

        Raises:
            OSError: the disk is full.
        """
        with store.snapshot():
            tip = store.tip()
            while True:
                ids, products, matrix = store.added_after(self.tip.photo, _BATCH_ROWS)
                if not len(ids):
                    break
                self.vectors.append(ids, products, matrix)
                self.tip = replace(self.tip, photo=int(ids[-1]))
            self.vectors.remove(store.removed_after(self.tip.removal))
        self.tip = tip

    def read(self, store: SqliteCatalogueStore, progress: Callable[[int], None]) -> None:
        """Reads all rows into an empty index; then `follow` brings what was written meanwhile.

        A transaction a batch: one over all of them would let the store's log grow by every write until it ends. A row
        that goes once it was read is among the removals behind the position noted here first.

        Args:
            store: of this thread.
            progress: told how many rows are read.

        Raises:
            OSError: the disk is full.
        """
        with store.snapshot():
            self.tip = Tip(removal=store.tip().removal)
        while True:
            with store.snapshot():
                ids, products, matrix = store.added_after(self.tip.photo, _BATCH_ROWS)
            if len(ids):
                self.vectors.append(ids, products, matrix)
                self.tip = replace(self.tip, photo=int(ids[-1]))
            progress(self.vectors.count)
            if len(ids) < _BATCH_ROWS:
                return

    @property
    def wants_graph(self) -> bool:
        """Whether what is compared one by one has become much."""
        fresh = self.vectors.count - self.graph_rows
        return fresh > max(self.exact_below, self.graph_rows // 20)

    @property
    def wants_rebuild(self) -> bool:
        """Whether more rows are dead than alive."""
        dead = self.vectors.count - int(self.vectors.alive.sum())
        return dead > max(self.exact_below, self.vectors.count // 2)

    def use_graph(self, file: Path, rows: int) -> None:
        """Raises:
        OSError, RuntimeError: the file is not there, or not a graph of this dimension.
        """
        graph = new_graph(self.vectors.dimension)
        graph.view(str(file))
        if graph.ndim != self.vectors.dimension or len(graph) != rows:
            raise RuntimeError(f"{file} has {len(graph)} vectors of {graph.ndim}, expected {rows}")
        self.graph, self.graph_file, self.graph_rows = graph, file, rows

    def search(
        self,
        embedding: Floats,
        k: int,
        query: SearchQuery,
        allowed: Ids | None = None,
        excluded_products: Sequence[int] = (),
    ) -> tuple[Ids, Floats]:
        """The nearest photos: their ids and their cosine, falling; at most `k`.

        Args:
            embedding: float32[D], L2 norm 1.
            k: most results.
            query: whose conditions are `allowed`'s: only what concerns vectors is looked at here.
            allowed: ids of the photos that may be in the answer; None is all.
            excluded_products: keys of products that may not.
        """
        eligible = self._eligible(allowed, excluded_products)
        count = int(eligible.sum())
        if self.graph is None or query.exact or count <= self.exact_below:
            return self._best(embedding, k, query, np.flatnonzero(eligible))
        fresh = np.flatnonzero(eligible[self.graph_rows :]) + self.graph_rows
        share = count / self.vectors.count
        fetch = max(_MIN_CANDIDATES, int(k * _OVERSAMPLING / share))
        # Beyond a tenth the way through the graph costs more than all of it.
        while fetch <= self.graph_rows // 10:
            rows = self._candidates(embedding, fetch)
            near = rows[eligible[rows]]
            ids, similarities = self._best(embedding, k, query, np.concatenate([near, fresh]))
            if len(ids) >= k or self._is_past(embedding, query.min_similarity, rows):
                return ids, similarities
            fetch *= 4
        return self._best(embedding, k, query, np.flatnonzero(eligible))

    def _eligible(self, allowed: Ids | None, excluded_products: Sequence[int]) -> Flags:
        vectors = self.vectors
        eligible = vectors.alive.copy()
        if allowed is not None:
            is_allowed = np.zeros(vectors.count, np.bool_)
            is_allowed[vectors.rows_of(allowed)] = True
            eligible &= is_allowed
        if len(excluded_products):
            eligible &= ~np.isin(vectors.products, excluded_products)
        return eligible

    def _candidates(self, query: Floats, fetch: int) -> Ids:
        assert self.graph is not None
        self.graph.expansion_search = max(EXPANSION_SEARCH, fetch)  # type: ignore[misc]  # it has a setter
        keys: Ids = np.asarray(self.graph.search(query, fetch).keys, np.int64)
        return keys  # a row's number is its key

    def _is_past(self, embedding: Floats, min_similarity: float, rows: Ids) -> bool:
        """Whether the farthest candidate is already under the least similarity asked for."""
        return bool(len(rows) and self.vectors.score(rows[-1:], embedding)[0] < min_similarity)

    def _best(self, embedding: Floats, k: int, query: SearchQuery, rows: Ids) -> tuple[Ids, Floats]:
        scores = self.vectors.score(rows, embedding)
        keep = scores >= query.min_similarity
        rows, scores = rows[keep], np.minimum(scores[keep], 1.0)
        order = _falling(scores, k * _OVERSAMPLING)
        if query.group_by_product:
            _, first = np.unique(self.vectors.products[rows[order]], return_index=True)
            if len(first) < k and len(order) < len(rows):
                order = _falling(scores, len(rows))
                _, first = np.unique(self.vectors.products[rows[order]], return_index=True)
            order = order[np.sort(first)]
        order = order[:k]
        return self.vectors.ids[rows[order]], scores[order]


def _falling(scores: Floats, most: int) -> Ids:
    """Positions of the highest scores, falling; of equal ones the first first."""
    if most >= len(scores):
        return np.argsort(-scores, kind="stable")
    some = np.sort(np.argpartition(-scores, most)[:most])
    return some[np.argsort(-scores[some], kind="stable")]


def index_bytes(rows: int, dimension: int) -> int:
    """What the files of a new index of so many rows take on the disk, at most.

    Vectors: 4 bytes a number and room to grow. Graph: 2 bytes a number and links (148 bytes a row, measured at 20,000
    rows). Ids, products, flags: 17 bytes a row.
    """
    capacity = rows + max(GROWTH_ROWS, rows // 4)
    return capacity * dimension * 4 + rows * (dimension * 2 + 160 + 17)


def new_graph(dimension: int) -> Index:
    return Index(
        ndim=dimension,
        metric="ip",
        dtype="f16",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )


def build_graph(
    old: Path | None, start: int, matrix: Floats, file: Path, threads: int, progress: Callable[[int], None]
) -> None:
    """Writes the graph of rows 0 to `start + len(matrix)`: the old one's, and those of `matrix` behind them.

    Searches go on meanwhile: the library computes without the interpreter's lock.
    """
    graph = new_graph(matrix.shape[1])
    if old is not None:
        graph.load(str(old))
    for at in range(0, len(matrix), _GRAPH_BATCH_ROWS):
        progress(start + at)
        part = matrix[at : at + _GRAPH_BATCH_ROWS]
        graph.add(np.arange(start + at, start + at + len(part)), part, threads=threads)
    graph.save(str(file))
