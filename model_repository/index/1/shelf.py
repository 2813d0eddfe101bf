"""Where searches look: what an engine must be able to do, and the embedded one doing it."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from catalogue_errors import IncompatibleIndex
from engine import Question
from filters import check_fields
from follower import Follower
from queries import Query
from vectors import Floats, unit


@dataclass(frozen=True)
class Hit:
    """One photo; `vector` float32[D], L2 norm 1."""

    product_id: str
    photo_id: str
    fields: dict[str, Any]
    image_digest: str | None
    phash: str | None
    similarity: float
    vector: Floats


class Shelf(Protocol):
    """An engine, as searches see it. Directions are float32[D], L2 norm 1."""

    def view(self) -> AbstractContextManager[None]:
        """What is asked inside is asked of one state, as far as the engine has such."""

    def refuse_other_network(self) -> None:
        """Raises:
        IncompatibleIndex: the embeddings there are not those of the network that is served.
        """

    def nearest(self, direction: Floats, k: int, query: Query, without: Collection[str] = ()) -> list[Hit]:
        """At most `k` photos that meet the query and are of none of the products `without`, the nearest first.

        Raises:
            InvalidRequest: a filter names a field that no product has.
        """

    def direction_of(self, product_id: str) -> Floats | None:
        """The mean direction of a product's photos; None where there is no such product."""

    def count_photos(self) -> float:
        """How many photos searches look through; NaN where nobody knows just now."""

    def count_unindexed(self) -> int:
        """How many of them are compared one by one."""


class EmbeddedShelf:
    """SQLite and its index in this process.

    Args:
        follower: of the store.
        fingerprint: of the network that is served.
    """

    def __init__(self, follower: Follower, fingerprint: str) -> None:
        self._follower = follower
        self._fingerprint = fingerprint

    def view(self) -> AbstractContextManager[Any]:
        """Nothing is followed or swapped meanwhile."""
        return self._follower.lock()

    def refuse_other_network(self) -> None:
        """See `Shelf`."""
        self._follower.catch_up()
        stored = self._follower.store.meta("fingerprint")
        if stored and stored != self._fingerprint and self._follower.engine.vectors.alive.any():
            advice = "Embed the catalogue again with this network, or serve the network it was made with."
            raise IncompatibleIndex("the catalogue", stored, self._fingerprint, advice)

    def nearest(self, direction: Floats, k: int, query: Query, without: Collection[str] = ()) -> list[Hit]:
        """See `Shelf`."""
        store, engine = self._follower.store, self._follower.engine
        check_fields(query.conditions, store.field_names() if query.conditions else ())
        allowed = store.select(query.conditions) if query.conditions else None
        keys = [key for product_id in without if (key := store.product_key(product_id)) is not None]
        nearest = engine.search(
            Question(direction, k, allowed, query.min_similarity, query.group_by_product, query.exact, tuple(keys))
        )
        rows = store.rows(nearest.ids.tolist())
        vectors = engine.vectors.matrix[engine.vectors.rows_of(nearest.ids)]
        hits = []
        for id_, similarity, vector in zip(nearest.ids.tolist(), nearest.similarities, vectors, strict=True):
            product_id, photo_id, fields, image_digest, phash = rows[id_]
            hits.append(Hit(product_id, photo_id, json.loads(fields), image_digest, phash, float(similarity), vector))
        return hits

    def direction_of(self, product_id: str) -> Floats | None:
        """See `Shelf`."""
        photos = self._follower.store.get(product_id)
        return mean_direction([photo.embedding for photo in photos]) if photos else None

    def count_photos(self) -> int:
        """See `Shelf`."""
        return int(self._follower.engine.vectors.alive.sum())

    def count_unindexed(self) -> int:
        """See `Shelf`."""
        engine = self._follower.engine
        return int(engine.vectors.alive[engine.graph_rows :].sum())


def mean_direction(vectors: list[Floats]) -> Floats:
    """float32[D], L2 norm 1, of one or more vectors."""
    return unit(np.mean(vectors, axis=0))
