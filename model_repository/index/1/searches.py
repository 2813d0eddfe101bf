"""The searches of `index`: by an embedding, by a product, by a taste. Knows no tensors of Triton's and no engine."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from catalogue_errors import InvalidRequest
from filters import Condition
from narrowing import VOTERS, Narrowing, choose, vote
from queries import Query
from shelf import Hit, Shelf
from tastes import Taste, diversify, find_interests
from vectors import Floats, unit

# For each place in a recommendation so many candidates an interest: enough to choose unlike ones from.
POOL = 5


@dataclass(frozen=True)
class Found:
    """One photo of an answer."""

    product_id: str
    similarity: float
    payload: str


@dataclass(frozen=True)
class Answer:
    """Of one row.

    Attributes:
        photos: best first.
        unknown: products of a taste that are not in the catalogue.
        narrowed_to: categories that were searched first.
    """

    photos: list[Found]
    unknown: list[str] = field(default_factory=list)
    narrowed_to: list[str] = field(default_factory=list)


class Searches:
    """Each search sees one state of the catalogue."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    def by_embedding(self, embedding: Floats, k: int, query: Query) -> Answer:
        """Raises:
        InvalidRequest: the embedding has no direction, or a filter names no field.
        IncompatibleIndex: the catalogue is of another network.
        """
        direction = _unit(embedding)
        with self._shelf.view():
            self._shelf.refuse_other_network()
            if query.narrowing is None:
                return Answer([_describe(hit) for hit in self._shelf.nearest(direction, k, query)])
            categories, hits = self._narrowed(direction, k, query, query.narrowing)
        return Answer([_describe(hit) for hit in hits], narrowed_to=categories)

    def by_product(self, product_id: str, k: int, query: Query) -> Answer:
        """Raises:
        InvalidRequest: there is no such product; as `by_embedding`.
        IncompatibleIndex: as there.
        """
        with self._shelf.view():
            self._shelf.refuse_other_network()
            direction = self._shelf.direction_of(product_id)
            if direction is None:
                raise InvalidRequest(f"No product has the id {product_id!r}. Add it with `catalogue`, or check the id.")
            hits = self._shelf.nearest(direction, k, query, without=(product_id,))
        return Answer([_describe(hit) for hit in hits])

    def by_taste(self, taste: Taste, k: int, query: Query) -> Answer:
        """Raises:
        InvalidRequest, IncompatibleIndex: as `by_embedding`. Products that are not there are told, not refused.
        """
        with self._shelf.view():
            self._shelf.refuse_other_network()
            found = {name: self._shelf.direction_of(name) for name in taste.weights}
            known = {name: direction for name, direction in found.items() if direction is not None}
            unknown = [name for name in taste.weights if name not in known]
            if not known:
                return Answer([], unknown)
            weights = [taste.weights[name] for name in known]
            interests = find_interests(np.stack(list(known.values())), weights, taste.interests, taste.apart)
            pool = [self._shelf.nearest(one.direction, POOL * k, query, taste.without) for one in interests]
        hits, of = _merge(pool)
        if not hits:
            return Answer([], unknown)
        relevance = np.array([hit.similarity for hit in hits], np.float32)
        vectors = np.stack([hit.vector for hit in hits])
        taken = diversify(relevance, vectors, of, [one.share for one in interests], k, taste.diversity)
        return Answer([_describe(hits[place], of[place]) for place in taken], unknown)

    def _narrowed(self, direction: Floats, k: int, query: Query, narrowing: Narrowing) -> tuple[list[str], list[Hit]]:
        """The categories, and the nearest there; where these are fewer than `k`, the nearest elsewhere behind them."""
        loose = replace(query, min_similarity=-1.0, group_by_product=False)
        neighbours = self._shelf.nearest(direction, VOTERS, loose)
        votes = vote(narrowing.field, [(hit.fields, hit.similarity) for hit in neighbours])
        known = set(votes)
        unseen = [name for name in narrowing.predicted if name not in known]
        if unseen:  # of these the catalogue may have none: labels of a network that was not taught the shop's own
            elsewhere = self._shelf.nearest(direction, VOTERS, _within(loose, narrowing.field, unseen))
            known |= {str(hit.fields[narrowing.field]) for hit in elsewhere}
        categories = choose(votes, {name: score for name, score in narrowing.predicted.items() if name in known})
        if not categories:
            return [], self._shelf.nearest(direction, k, query)
        hits = self._shelf.nearest(direction, k, _within(query, narrowing.field, categories))
        if len(hits) < k:

            def place(hit: Hit) -> str | tuple[str, str]:
                return hit.product_id if query.group_by_product else (hit.product_id, hit.photo_id)

            there = set(map(place, hits))
            rest = [hit for hit in self._shelf.nearest(direction, k, query) if place(hit) not in there]
            hits += rest[: k - len(hits)]
        return categories, hits


def _within(query: Query, name: str, values: list[str]) -> Query:
    return replace(query, conditions=(*query.conditions, Condition(name, "in", tuple(values))))


def _merge(pool: list[list[Hit]]) -> tuple[list[Hit], list[int]]:
    """Every photo once, with the number of the interest it is nearest to."""
    best: dict[tuple[str, str], tuple[Hit, int]] = {}
    for number, hits in enumerate(pool):
        for hit in hits:
            key = (hit.product_id, hit.photo_id)
            if key not in best or hit.similarity > best[key][0].similarity:
                best[key] = (hit, number)
    return [hit for hit, _ in best.values()], [number for _, number in best.values()]


def _describe(hit: Hit, interest: int | None = None) -> Found:
    payload: dict[str, Any] = {"photo_id": hit.photo_id, "fields": hit.fields}
    payload |= {name: value for name in ("image_digest", "phash") if (value := getattr(hit, name))}
    if interest is not None:
        payload["interest"] = interest
    return Found(hit.product_id, hit.similarity, json.dumps(payload))


def _unit(embedding: Any) -> Floats:
    length = float(np.linalg.norm(embedding))
    if not np.isfinite(length) or length == 0:
        raise InvalidRequest("The embedding has no direction: expected finite numbers, not all of them 0.")
    return unit(embedding)
