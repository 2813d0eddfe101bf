"""The searches of `index`: by an embedding, by a product, by a taste. Knows no tensors of Triton's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tastes import Taste, diversify, find_interests

from catalogue_errors import IncompatibleIndex, InvalidRequest
from engine import Nearest, Question
from filters import check_fields
from follower import Follower
from queries import Query

# For each place in a recommendation so many candidates an interest: enough to choose unlike ones from.
POOL = 5

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """One photo of an answer."""

    product_id: str
    similarity: float
    payload: str


@dataclass(frozen=True)
class Answer:
    """Of one row: photos, best first, and the products of a taste that are not in the catalogue."""

    photos: list[Found]
    unknown: list[str]


class Searches:
    """Each search sees one state of the catalogue, that of its beginning.

    Args:
        follower: of the catalogue.
        fingerprint: of the embedder that is served.
    """

    def __init__(self, follower: Follower, fingerprint: str) -> None:
        self._follower = follower
        self._fingerprint = fingerprint

    def by_embedding(self, embedding: Floats, k: int, query: Query) -> Answer:
        """Raises:
        InvalidRequest: the embedding has no direction, or a filter names no field.
        IncompatibleIndex: the catalogue is of another network.
        """
        with self._follower.lock():
            nearest = self._nearest(unit(embedding), k, query, self._begin(query))
            return Answer(self._describe(nearest), [])

    def by_product(self, product_id: str, k: int, query: Query) -> Answer:
        """Raises:
        InvalidRequest: there is no such product; as `by_embedding`.
        IncompatibleIndex: as there.
        """
        with self._follower.lock():
            allowed = self._begin(query)
            known = self._find(product_id)
            if known is None:
                raise InvalidRequest(f"No product has the id {product_id!r}. Add it with `catalogue`, or check the id.")
            nearest = self._nearest(known[0], k, query, allowed, without=known[1])
            return Answer(self._describe(nearest), [])

    def by_taste(self, taste: Taste, k: int, query: Query) -> Answer:
        """Raises:
        InvalidRequest, IncompatibleIndex: as `by_embedding`. Products that are not there are told, not refused.
        """
        with self._follower.lock():
            allowed = self._begin(query)
            directions = {name: found for name in taste.weights if (found := self._find(name)) is not None}
            unknown = [name for name in taste.weights if name not in directions]
            if not directions:
                return Answer([], unknown)
            interests = find_interests(
                np.stack([vector for vector, _ in directions.values()]),
                [taste.weights[name] for name in directions],
                taste.interests,
                taste.apart,
            )
            without = {found[1] for name in taste.without if (found := self._find(name)) is not None}
            pool = [
                self._without(self._nearest(one.direction, POOL * k + len(without), query, allowed), without)
                for one in interests
            ]
            nearest, of = _merge(pool)
            vectors = self._follower.engine.vectors
            taken = diversify(
                nearest.similarities,
                vectors.matrix[vectors.rows_of(nearest.ids)],
                of,
                [one.share for one in interests],
                k,
                taste.diversity,
            )
            chosen = Nearest(nearest.ids[taken], nearest.similarities[taken])
            return Answer(self._describe(chosen, [of[position] for position in taken]), unknown)

    def _begin(self, query: Query) -> Ids | None:
        """Catches up; the ids that the query's filter allows, None for all."""
        self._follower.catch_up()
        store = self._follower.store
        stored = store.meta("fingerprint")
        if stored and stored != self._fingerprint and self._follower.engine.vectors.alive.any():
            advice = "Embed the catalogue again with this network, or serve the network it was made with."
            raise IncompatibleIndex("the catalogue", stored, self._fingerprint, advice)
        check_fields(query.conditions, store.field_names() if query.conditions else ())
        return store.select(query.conditions) if query.conditions else None

    def _nearest(
        self, direction: Floats, k: int, query: Query, allowed: Ids | None, without: int | None = None
    ) -> Nearest:
        return self._follower.engine.search(
            Question(direction, k, allowed, query.min_similarity, query.group_by_product, query.exact, without)
        )

    def _without(self, nearest: Nearest, products: set[int]) -> Nearest:
        vectors = self._follower.engine.vectors
        keep = ~np.isin(vectors.products[vectors.rows_of(nearest.ids)], list(products))
        return Nearest(nearest.ids[keep], nearest.similarities[keep])

    def _find(self, product_id: str) -> tuple[Floats, int] | None:
        """The mean direction of a product's photos, and the product's key."""
        photos = self._follower.store.get(product_id)
        if not photos:
            return None
        vectors = self._follower.engine.vectors
        (row,) = vectors.rows_of(np.array([photos[0].id]))
        return unit(np.mean([photo.embedding for photo in photos], axis=0)), int(vectors.products[row])

    def _describe(self, nearest: Nearest, interests: list[int] | None = None) -> list[Found]:
        rows = self._follower.store.rows(nearest.ids.tolist())
        found = []
        for place, (id_, similarity) in enumerate(zip(nearest.ids.tolist(), nearest.similarities, strict=True)):
            product_id, photo_id, fields, image_digest, phash = rows[id_]
            payload: dict[str, Any] = {"photo_id": photo_id, "fields": json.loads(fields)}
            payload |= {name: value for name, value in (("image_digest", image_digest), ("phash", phash)) if value}
            if interests is not None:
                payload["interest"] = interests[place]
            found.append(Found(product_id, float(similarity), json.dumps(payload)))
        return found


def unit(embedding: Any) -> Floats:
    """float32[D] of L2 norm 1.

    Raises:
        InvalidRequest: it has no direction.
    """
    length = float(np.linalg.norm(embedding))
    if not np.isfinite(length) or length == 0:
        raise InvalidRequest("The embedding has no direction: expected finite numbers, not all of them 0.")
    return np.asarray(embedding / length, np.float32)


def _merge(pool: list[Nearest]) -> tuple[Nearest, list[int]]:
    """Every candidate once, with the number of the interest it is nearest to."""
    best: dict[int, tuple[float, int]] = {}
    for number, nearest in enumerate(pool):
        for id_, similarity in zip(nearest.ids.tolist(), nearest.similarities.tolist(), strict=True):
            if id_ not in best or similarity > best[id_][0]:
                best[id_] = (similarity, number)
    similarities = np.array([similarity for similarity, _ in best.values()], np.float32)
    return Nearest(np.array(list(best), np.int64), similarities), [number for _, number in best.values()]
