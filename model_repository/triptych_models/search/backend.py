"""The interface of a search backend, and the embedded backend over this server's own index."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from triptych_models.catalogue.field_kinds import check_filter
from triptych_models.catalogue.filters import Condition
from triptych_models.catalogue.records import Floats, Ids
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import IncompatibleIndex
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.query import SearchQuery
from triptych_models.search.vectors import unit


@dataclass(frozen=True)
class Hit:
    """One photo that a search found.

    Attributes:
        similarity: cosine with the direction that was searched.
        vector: float32[D], L2 norm 1.
        interest: number of the shopper's interest that found the photo; None for searches without preferences.
    """

    product_id: str
    photo_id: str
    fields: dict[str, Any]
    image_digest: str | None
    phash: str | None
    similarity: float
    vector: Floats
    interest: int | None = None

    @property
    def payload(self) -> str:
        """The photo's part of tensor `payload`, as JSON."""
        payload: dict[str, Any] = {"photo_id": self.photo_id, "fields": self.fields}
        payload |= {
            name: value for name in ("image_digest", "phash", "interest") if (value := getattr(self, name)) is not None
        }
        return json.dumps(payload)


class SearchBackend(Protocol):
    """A search backend. Directions are float32[D], L2 norm 1."""

    def view(self) -> AbstractContextManager[None]:
        """Context in which all reads see one state of the catalogue, where the backend supports that."""

    def refuse_other_network(self) -> None:
        """Raises unless the catalogue's embeddings are of the network that is served.

        Raises:
            IncompatibleIndex: the catalogue's embeddings are of another network.
        """

    def nearest(self, direction: Floats, k: int, query: SearchQuery, without: Collection[str] = ()) -> list[Hit]:
        """At most `k` photos that meet the query and are not of a product in `without`, the nearest first.

        Raises:
            InvalidRequest: a filter names a field that no product has.
        """

    def direction_of(self, product_id: str) -> Floats | None:
        """The mean direction of a product's photos; None where the product does not exist."""

    def count_photos(self) -> float:
        """Number of photos that searches cover; NaN while it is unknown."""

    def count_unindexed(self) -> int:
        """Number of photos that are not in the HNSW index, which a search compares one by one."""


class EmbeddedBackend:
    """SQLite and its index in this process.

    Each read takes the index's lock. The costliest part, the evaluation of filters, does without: a filter delays no
    other search.

    Args:
        sync: of the store's index.
        fingerprint: of the network that is served.
    """

    def __init__(self, sync: IndexSync, fingerprint: str) -> None:
        self._sync = sync
        self._fingerprint = fingerprint
        self._own = threading.local()

    def view(self) -> AbstractContextManager[None]:
        """See `SearchBackend`. A write between two reads is seen by the second one."""
        return nullcontext()

    def refuse_other_network(self) -> None:
        """See `SearchBackend`."""
        with self._sync.lock():
            self._sync.catch_up()
            stored = self._sync.store.meta("fingerprint")
            is_other = bool(stored) and stored != self._fingerprint and self._sync.index.vectors.alive.any()
        if is_other:
            advice = "Embed the catalogue again with this network, or serve the network that made the embeddings."
            raise IncompatibleIndex("the catalogue", stored, self._fingerprint, advice)

    def nearest(self, direction: Floats, k: int, query: SearchQuery, without: Collection[str] = ()) -> list[Hit]:
        """See `SearchBackend`."""
        allowed = self._select(query.conditions) if query.conditions else None
        with self._sync.lock():
            return self._nearest(direction, k, query, without, allowed)

    def _select(self, conditions: Sequence[Condition]) -> Ids:
        """Ids of the photos that meet the conditions, read by a connection of this thread alone.

        The index ignores photos that it does not have yet or any more.
        """
        if not hasattr(self._own, "store"):
            self._own.store = SqliteCatalogueStore(self._sync.store.file.parent)
        store: SqliteCatalogueStore = self._own.store
        check_filter(conditions, store)
        return store.select(conditions)

    def _nearest(
        self, direction: Floats, k: int, query: SearchQuery, without: Collection[str], allowed: Ids | None
    ) -> list[Hit]:
        store, index = self._sync.store, self._sync.index
        keys = [key for product_id in without if (key := store.product_key(product_id)) is not None]
        ids, similarities = index.search(direction, k, query, allowed, keys)
        rows = store.rows(ids.tolist())
        vectors = index.vectors.matrix[index.vectors.rows_of(ids)]
        hits = []
        for id_, similarity, vector in zip(ids.tolist(), similarities, vectors, strict=True):
            if id_ not in rows:
                continue  # damaged in the store, which reports it
            product_id, photo_id, fields, image_digest, phash = rows[id_]
            hits.append(Hit(product_id, photo_id, json.loads(fields), image_digest, phash, float(similarity), vector))
        return hits

    def direction_of(self, product_id: str) -> Floats | None:
        """See `SearchBackend`. From the index, which takes a tenth of the time; the store has what the index lacks."""
        with self._sync.lock():
            return self._direction_of(product_id)

    def _direction_of(self, product_id: str) -> Floats | None:
        key = self._sync.store.product_key(product_id)
        if key is None:
            return None
        vectors = self._sync.index.vectors
        rows = np.flatnonzero((vectors.products == key) & vectors.alive)
        if len(rows):
            return mean_direction(list(vectors.matrix[rows]))
        photos = self._sync.store.get(product_id)
        return mean_direction([photo.embedding for photo in photos]) if photos else None

    def count_photos(self) -> int:
        """See `SearchBackend`."""
        return int(self._sync.index.vectors.alive.sum())

    def count_unindexed(self) -> int:
        """See `SearchBackend`."""
        index = self._sync.index
        return int(index.vectors.alive[index.graph_rows :].sum())


def mean_direction(vectors: list[Floats]) -> Floats:
    """float32[D], L2 norm 1, of one or more vectors."""
    return unit(np.mean(vectors, axis=0))
