"""The vector index: exact search over few photos, an HNSW graph over many; every result is scored in full precision.

The HNSW graph (half precision, memory-mapped) covers the first rows of `Vectors`. A search compares the rows after them
one by one, so it finds new photos at once. Catches up with the store; knows no requests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from usearch.index import Index

from triptych_models.catalogue.files.index_files import file_checksum
from triptych_models.catalogue.records import Floats, Ids, Tip
from triptych_models.catalogue.settings import EXACT_BELOW
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.placed_files import native_name
from triptych_models.search.index_repair import IndexRepair
from triptych_models.search.query import SearchQuery
from triptych_models.search.vectors import GROWTH_ROWS, Vectors

CONNECTIVITY = 16
EXPANSION_ADD = 128
EXPANSION_SEARCH = 128
# Some photos that the graph returns are removed, filtered out, or of a product that is already in the answer.
_OVERSAMPLING = 4
_MIN_CANDIDATES = 128
_BATCH_ROWS = 4096
# About 1 s of work on one core.
_GRAPH_BATCH_ROWS = 1024

Flags = npt.NDArray[np.bool_]


class VectorIndex:
    """Vectors, the HNSW graph over the first `graph_rows` of them, and the position in the store's history.

    Args:
        vectors: the rows.
        epoch: of the store.
        exact_below: up to this many photos a search compares all of them.
        repair: repairs damaged rows; not needed for rows that were just read from the store.
    """

    def __init__(
        self, vectors: Vectors, epoch: str, exact_below: int = EXACT_BELOW, repair: IndexRepair | None = None
    ) -> None:
        self.vectors = vectors
        self._repair = repair
        self.epoch = epoch
        self.exact_below = exact_below
        self.graph: Index | None = None
        self.graph_file: Path | None = None
        self.graph_rows = 0
        self.graph_checksum: int | None = None
        self.tip = Tip()

    def catch_up(self, store: SqliteCatalogueStore) -> None:
        """Applies the store's additions and removals since `tip`, in steps: after a failure the next call continues.

        Raises:
            OSError: the disk is full.
        """
        with store.snapshot():
            tip = store.tip()
            while True:
                added = store.rows_after(self.tip.photo, _BATCH_ROWS)
                if not len(added.ids):
                    break
                self.vectors.append(added)
                self.tip = replace(self.tip, photo=int(added.ids[-1]))
            self.vectors.remove(store.removed_after(self.tip.removal))
        self.tip = tip

    def read(self, store: SqliteCatalogueStore, progress: Callable[[int], None]) -> None:
        """Reads all rows into an empty index; afterwards `catch_up` applies the writes since the start of the read.

        Each batch has its own transaction: with one long transaction the store's write-ahead log would grow with every
        write. A row that is removed after it was read is among the removals after the position noted first.

        Args:
            store: store of this thread.
            progress: called with the number of rows read.

        Raises:
            OSError: the disk is full.
        """
        with store.snapshot():
            self.tip = Tip(removal=store.tip().removal)
        while True:
            with store.snapshot():
                added = store.rows_after(self.tip.photo, _BATCH_ROWS)
            if len(added.ids):
                self.vectors.append(added)
                self.tip = replace(self.tip, photo=int(added.ids[-1]))
            progress(self.vectors.count)
            if len(added.ids) < _BATCH_ROWS:
                return

    @property
    def wants_graph(self) -> bool:
        """Whether too many rows are outside of the graph."""
        fresh = self.vectors.count - self.graph_rows
        return fresh > max(self.exact_below, self.graph_rows // 20)

    @property
    def wants_rebuild(self) -> bool:
        """Whether more rows are removed than present."""
        dead = self.vectors.count - int(self.vectors.alive.sum())
        return dead > max(self.exact_below, self.vectors.count // 2)

    def offer_graph(self, file: Path, rows: int, checksum: int | None) -> None:
        """Names a saved graph, which is compared with its checksum and opened at its first use."""
        self.graph_file, self.graph_rows, self.graph_checksum = file, rows, checksum

    def open_graph(self) -> None:
        """Opens the graph that was offered; `wants_graph` is true afterwards if it is damaged."""
        if self.graph is not None or self.graph_file is None:
            return
        file = self.graph_file
        try:
            checksum = file_checksum(file)
            if self.graph_checksum not in (None, checksum):
                raise RuntimeError("it does not match its checksum")
            self.use_graph(file, self.graph_rows, checksum)
        except (OSError, RuntimeError) as error:
            self.graph, self.graph_file, self.graph_rows, self.graph_checksum = None, None, 0, None
            if self._repair is not None:
                self._repair.log(f"catalogue: {file} is damaged ({error}); the graph is built again")

    def use_graph(self, file: Path, rows: int, checksum: int) -> None:
        """Opens the graph in a file, which is not damaged: the library trusts the content.

        Raises:
            OSError, RuntimeError: the file is missing, or is not a graph of this dimension and number of rows.
        """
        graph = new_graph(self.vectors.dimension)
        graph.view(native_name(file))
        if graph.ndim != self.vectors.dimension or len(graph) != rows:
            raise RuntimeError(f"{file} has {len(graph)} vectors of dimension {graph.ndim}; expected {rows} vectors")
        self.graph, self.graph_file, self.graph_rows, self.graph_checksum = graph, file, rows, checksum

    def check(self, rows: Ids) -> Ids:
        """Compares rows with their checksums, once; returns the rows that are sound or were repaired."""
        damaged = self.vectors.find_damaged(rows)
        if not len(damaged) or self._repair is None:
            return rows
        # One damaged row is seldom alone: all are found at once, and reported in one line.
        others = self.vectors.find_damaged(np.setdiff1d(self.vectors.next_unchecked(self.vectors.count), damaged))
        lost = self._repair.mend(self.vectors, np.union1d(damaged, others))
        return rows[~np.isin(rows, lost)]

    def search(
        self,
        embedding: Floats,
        k: int,
        query: SearchQuery,
        allowed: Ids | None = None,
        excluded_products: Sequence[int] = (),
    ) -> tuple[Ids, Floats]:
        """The nearest photos: at most `k` ids and cosines, the highest cosine first.

        Args:
            embedding: float32[D], L2 norm 1.
            k: the most results.
            query: only its options on vectors are used here; its conditions are in `allowed`.
            allowed: ids of the photos that may be returned; None is all.
            excluded_products: keys of the products that may not be returned.
        """
        eligible = self._eligible(allowed, excluded_products)
        count = int(eligible.sum())
        if query.exact or count <= self.exact_below:
            return self._best(embedding, k, query, np.flatnonzero(eligible))
        self.open_graph()
        if self.graph is None:
            return self._best(embedding, k, query, np.flatnonzero(eligible))
        fresh = np.flatnonzero(eligible[self.graph_rows :]) + self.graph_rows
        share = count / self.vectors.count
        fetch = max(_MIN_CANDIDATES, int(k * _OVERSAMPLING / share))
        # Above a tenth of the rows, a graph search costs more than comparing all rows.
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
        """Whether the farthest candidate is below the least similarity of the query."""
        last = self.check(rows[-1:])
        return bool(len(last) and self.vectors.score(last, embedding)[0] < min_similarity)

    def _best(self, embedding: Floats, k: int, query: SearchQuery, rows: Ids) -> tuple[Ids, Floats]:
        rows = self.check(rows)
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
    """Positions of the highest scores in falling order; of equal scores the lower position first."""
    if most >= len(scores):
        return np.argsort(-scores, kind="stable")
    some = np.sort(np.argpartition(-scores, most)[:most])
    return some[np.argsort(-scores[some], kind="stable")]


def index_bytes(rows: int, dimension: int) -> int:
    """The most bytes of disk that the files of a new index with this many rows take.

    Vectors: 4 bytes a number, and room to grow. Graph: 2 bytes a number and links (148 bytes a row, measured at 20,000
    rows). Ids, products, flags, checksums: 21 bytes a row.
    """
    capacity = rows + max(GROWTH_ROWS, rows // 4)
    return capacity * dimension * 4 + rows * (dimension * 2 + 160 + 21)


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
    """Writes the graph of rows 0 to `start + len(matrix)`: the old graph's rows, then the rows of `matrix`.

    Searches run meanwhile: the library releases the interpreter's lock.
    """
    graph = new_graph(matrix.shape[1])
    if old is not None:
        graph.load(native_name(old))
    for at in range(0, len(matrix), _GRAPH_BATCH_ROWS):
        progress(start + at)
        part = matrix[at : at + _GRAPH_BATCH_ROWS]
        graph.add(np.arange(start + at, start + at + len(part)), part, threads=threads)
    graph.save(native_name(file))
