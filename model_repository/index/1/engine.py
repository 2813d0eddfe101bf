"""Nearest photos: exact over what is little, an approximate graph over what is much, all scored in full precision.

The graph (HNSW, half precision, read from a file as the pages are needed) covers the first rows of `Vectors`; the rows
past it are compared one by one, so what was just written is found at once. Follows the store; knows no requests.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from usearch.index import Index

from store import Store, Tip
from vectors import Floats, Ids, Vectors

# Up to so many photos each is compared: 1 ms, when the graph takes 0.3 and misses nothing on real embeddings. See
# DECISIONS.md, "The graph from 2,000 photos on".
EXACT_BELOW = 2_000
CONNECTIVITY = 16
EXPANSION_ADD = 128
EXPANSION_SEARCH = 128
# The graph answers with photos, some removed, filtered out, or of a product that is in the answer already.
_OVERSAMPLING = 4
_MIN_CANDIDATES = 128
_BATCH_ROWS = 4096

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Question:
    """One search.

    Attributes:
        embedding: float32[D], L2 norm 1.
        allowed: ids of the photos that may be in the answer; None is all.
        groups: one photo a product, the nearest.
        without: keys of products that are left out.
    """

    embedding: Floats
    k: int = 10
    allowed: Ids | None = None
    min_similarity: float = -1.0
    groups: bool = True
    exact: bool = False
    without: tuple[int, ...] = ()


@dataclass(frozen=True)
class Nearest:
    """ids of photos and their cosine, falling."""

    ids: Ids
    similarities: Floats


class Engine:
    """Vectors, the graph over the first `graph_rows` of them, and how far the store was followed."""

    def __init__(self, vectors: Vectors, epoch: str, exact_below: int = EXACT_BELOW) -> None:
        self.vectors = vectors
        self.epoch = epoch
        self.exact_below = exact_below
        self.graph: Index | None = None
        self.graph_file: Path | None = None
        self.graph_rows = 0
        self.tip = Tip()

    def follow(self, store: Store) -> None:
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

    def search(self, question: Question) -> Nearest:
        """The nearest of the photos that are allowed, at most `k`."""
        eligible = self._eligible(question)
        count = int(eligible.sum())
        if self.graph is None or question.exact or count <= self.exact_below:
            return self._best(question, np.flatnonzero(eligible))
        fresh = np.flatnonzero(eligible[self.graph_rows :]) + self.graph_rows
        share = count / self.vectors.count
        fetch = max(_MIN_CANDIDATES, int(question.k * _OVERSAMPLING / share))
        # Beyond a tenth the way through the graph costs more than all of it.
        while fetch <= self.graph_rows // 10:
            rows = self._candidates(question.embedding, fetch)
            near = rows[eligible[rows]]
            nearest = self._best(question, np.concatenate([near, fresh]))
            if len(nearest.ids) >= question.k or self._is_past(question, rows):
                return nearest
            fetch *= 4
        return self._best(question, np.flatnonzero(eligible))

    def _eligible(self, question: Question) -> Flags:
        vectors = self.vectors
        eligible = vectors.alive.copy()
        if question.allowed is not None:
            allowed = np.zeros(vectors.count, np.bool_)
            allowed[vectors.rows_of(question.allowed)] = True
            eligible &= allowed
        if question.without:
            eligible &= ~np.isin(vectors.products, question.without)
        return eligible

    def _candidates(self, query: Floats, fetch: int) -> Ids:
        assert self.graph is not None
        self.graph.expansion_search = max(EXPANSION_SEARCH, fetch)  # type: ignore[misc]  # it has a setter
        keys: Ids = np.asarray(self.graph.search(query, fetch).keys, np.int64)
        return keys  # a row's number is its key

    def _is_past(self, question: Question, rows: Ids) -> bool:
        """Whether the farthest candidate is already under the least similarity asked for."""
        return bool(len(rows) and self.vectors.score(rows[-1:], question.embedding)[0] < question.min_similarity)

    def _best(self, question: Question, rows: Ids) -> Nearest:
        scores = self.vectors.score(rows, question.embedding)
        keep = scores >= question.min_similarity
        rows, scores = rows[keep], np.minimum(scores[keep], 1.0)
        order = _falling(scores, question.k * _OVERSAMPLING)
        if question.groups:
            _, first = np.unique(self.vectors.products[rows[order]], return_index=True)
            if len(first) < question.k and len(order) < len(rows):
                order = _falling(scores, len(rows))
                _, first = np.unique(self.vectors.products[rows[order]], return_index=True)
            order = order[np.sort(first)]
        order = order[: question.k]
        return Nearest(self.vectors.ids[rows[order]], scores[order])


def _falling(scores: Floats, most: int) -> Ids:
    """Positions of the highest scores, falling; of equal ones the first first."""
    if most >= len(scores):
        return np.argsort(-scores, kind="stable")
    some = np.sort(np.argpartition(-scores, most)[:most])
    return some[np.argsort(-scores[some], kind="stable")]


def new_graph(dimension: int) -> Index:
    return Index(
        ndim=dimension,
        metric="ip",
        dtype="f16",
        connectivity=CONNECTIVITY,
        expansion_add=EXPANSION_ADD,
        expansion_search=EXPANSION_SEARCH,
    )


def build_graph(old: Path | None, start: int, matrix: Floats, file: Path, threads: int) -> None:
    """Writes the graph of rows 0 to `start + len(matrix)`: the old one's, and those of `matrix` behind them."""
    graph = new_graph(matrix.shape[1])
    if old is not None:
        graph.load(str(old))
    for at in range(0, len(matrix), _BATCH_ROWS):
        part = matrix[at : at + _BATCH_ROWS]
        graph.add(np.arange(start + at, start + at + len(part)), part, threads=threads)
    graph.save(str(file))
