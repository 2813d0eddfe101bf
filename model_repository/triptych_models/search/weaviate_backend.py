"""The search backend over the Weaviate catalogue store. Uses only the store's public reads, not Weaviate's client."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from contextlib import nullcontext

from triptych_models.catalogue.filters import meets
from triptych_models.catalogue.records import Floats, Photo
from triptych_models.catalogue.weaviate_store import MAX_RESULTS, WeaviateCatalogueStore
from triptych_models.errors import EngineUnavailable, IncompatibleIndex
from triptych_models.search.backend import Hit, mean_direction
from triptych_models.search.query import SearchQuery


class WeaviateBackend:
    """A `SearchBackend`; Weaviate's HNSW index searches, also where a query asks for `exact`."""

    def __init__(self, store: WeaviateCatalogueStore) -> None:
        self._store = store

    def view(self) -> nullcontext[None]:
        """See `SearchBackend`. Weaviate has no snapshots: a search of several reads may see a write between them."""
        return nullcontext()

    def refuse_other_network(self) -> None:
        """See `SearchBackend`."""
        active = self._store.unreplaced_network()
        if active is not None:
            advice = (
                "Import the catalogue through this server and then call `activate`, or serve the network that made "
                "the embeddings."
            )
            raise IncompatibleIndex("the active catalogue", active, self._store.meta("fingerprint"), advice)

    def nearest(self, direction: Floats, k: int, query: SearchQuery, without: Collection[str] = ()) -> list[Hit]:
        """See `SearchBackend`. Reads more photos until `k` of them meet the query."""
        limit = min(MAX_RESULTS, 2 * k + len(without))
        while True:
            found = self._store.read_nearest(direction, limit, query.conditions)
            hits = _select(found, k, query, without)
            is_complete = len(found) < limit or found[-1][1] < query.min_similarity
            if len(hits) == k or is_complete or limit == MAX_RESULTS:
                return hits
            limit = min(MAX_RESULTS, 4 * limit)

    def direction_of(self, product_id: str) -> Floats | None:
        """See `SearchBackend`."""
        photos = self._store.get(product_id)
        return mean_direction([photo.embedding for photo in photos]) if photos else None

    def count_photos(self) -> float:
        """See `SearchBackend`. NaN while the cluster is down: the model still starts, and logs no error a second."""
        try:
            return self._store.count_photos()
        except EngineUnavailable:
            return math.nan

    def count_unindexed(self) -> int:
        """See `SearchBackend`. Weaviate indexes a photo when it is written."""
        return 0


def _select(found: Iterable[tuple[Photo, float]], k: int, query: SearchQuery, without: Collection[str]) -> list[Hit]:
    """The first `k` photos that meet the query, of products not in `without`."""
    hits: list[Hit] = []
    excluded = set(without)
    for photo, similarity in found:
        is_near = similarity >= query.min_similarity
        if not is_near or photo.product_id in excluded or not meets(query.conditions, photo.fields):
            continue
        hits.append(
            Hit(
                photo.product_id,
                photo.photo_id,
                photo.fields,
                photo.image_digest,
                photo.phash,
                min(1.0, similarity),
                photo.embedding,
            )
        )
        if query.group_by_product:
            excluded.add(photo.product_id)
        if len(hits) == k:
            break
    return hits
