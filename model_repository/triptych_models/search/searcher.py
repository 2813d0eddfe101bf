"""The searches of `index`: by embedding, by product, by preferences. Knows no tensors and no particular backend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from triptych_models.catalogue.filters import Condition
from triptych_models.catalogue.records import Floats
from triptych_models.errors import Code, InvalidRequest, quoted
from triptych_models.search.backend import Hit, SearchBackend
from triptych_models.search.predicted_filter import VOTERS, PredictedFilter, choose, vote
from triptych_models.search.preferences import Preferences, diversify, find_interests, pool_size
from triptych_models.search.query import SearchQuery
from triptych_models.search.vectors import unit

EMPTY = "The catalogue is empty: import products first."


def _never_stop() -> None:
    """The caller waits without end."""


@dataclass(frozen=True)
class SearchAnswer:
    """The answer to one row of a request.

    Attributes:
        hits: photos, the best first.
        unknown: products of the preferences that the catalogue does not have.
        narrowed_to: categories of the predicted filter, whose products come first.
    """

    hits: list[Hit]
    unknown: list[str] = field(default_factory=list)
    narrowed_to: list[str] = field(default_factory=list)


class Searcher:
    """A search of several reads sees one state of the catalogue only where the backend supports that."""

    def __init__(self, backend: SearchBackend) -> None:
        self._backend = backend

    def explain_nothing(self, query: SearchQuery) -> str | None:
        """A sentence about a search that found no photo; None where it says nothing of the catalogue or the query."""
        if self._backend.count_photos() == 0:
            return EMPTY
        if query.conditions or query.min_similarity > -1:
            return "No photo passes the filter and `min_similarity`."
        return None

    def by_embedding(self, embedding: Floats, k: int, query: SearchQuery) -> SearchAnswer:
        """The photos nearest to an embedding.

        Raises:
            InvalidRequest: the embedding has no direction, or a filter names an unknown field.
        IncompatibleIndex: the catalogue is of another network.
        """
        direction = _unit(embedding)
        with self._backend.view():
            self._backend.refuse_other_network()
            if query.predicted_filter is None:
                return SearchAnswer(self._backend.nearest(direction, k, query))
            categories, hits = self._within_predicted(direction, k, query, query.predicted_filter)
        return SearchAnswer(hits, narrowed_to=categories)

    def by_product(self, product_id: str, k: int, query: SearchQuery) -> SearchAnswer:
        """The photos nearest to a product, without its own.

        Raises:
            InvalidRequest: the product does not exist; see `by_embedding`.
        IncompatibleIndex: see `by_embedding`.
        """
        with self._backend.view():
            self._backend.refuse_other_network()
            direction = self._backend.direction_of(product_id)
            if direction is None:
                advice = "Check the id, or add the product with `catalogue`."
                if self._backend.count_photos() == 0:
                    advice = EMPTY
                raise InvalidRequest(f"No product has the id {quoted(product_id)}. {advice}", Code.PRODUCT_UNKNOWN)
            return SearchAnswer(self._backend.nearest(direction, k, query, without=(product_id,)))

    def by_preferences(
        self, preferences: Preferences, k: int, query: SearchQuery, check: Callable[[], None] = _never_stop
    ) -> SearchAnswer:
        """Recommendations for a shopper's preferences. Unknown products are reported, not refused.

        Args:
            preferences: the shopper's.
            k: the most results.
            query: options of the search.
            check: called between the steps; what it raises ends the search.

        Raises:
            InvalidRequest, IncompatibleIndex: see `by_embedding`.
        """
        with self._backend.view():
            self._backend.refuse_other_network()
            found = {name: self._backend.direction_of(name) for name in preferences.weights}
        known = {name: direction for name, direction in found.items() if direction is not None}
        unknown = [name for name in preferences.weights if name not in known]
        if not known:
            return SearchAnswer([], unknown)
        weights = [preferences.weights[name] for name in known]
        interests = find_interests(np.stack(list(known.values())), weights, preferences.interests, preferences.apart)
        pool = []
        for one in interests:
            check()
            with self._backend.view():
                size = pool_size(k, len(interests))
                pool.append(self._backend.nearest(one.direction, size, query, preferences.without))
        hits, of = _merge(pool)
        if not hits:
            return SearchAnswer([], unknown)
        check()
        relevance = np.array([hit.similarity for hit in hits], np.float32)
        vectors = np.stack([hit.vector for hit in hits])
        taken = diversify(relevance, vectors, of, [one.share for one in interests], k, preferences.diversity)
        return SearchAnswer([replace(hits[place], interest=of[place]) for place in taken], unknown)

    def _within_predicted(
        self, direction: Floats, k: int, query: SearchQuery, predicted_filter: PredictedFilter
    ) -> tuple[list[str], list[Hit]]:
        """The predicted categories and their nearest photos, followed by the nearest other photos up to `k`."""
        loose = replace(query, min_similarity=-1.0, group_by_product=False)
        neighbours = self._backend.nearest(direction, VOTERS, loose)
        votes = vote(predicted_filter.field, [(hit.fields, hit.similarity) for hit in neighbours])
        known = set(votes)
        unseen = [name for name in predicted_filter.predicted if name not in known]
        if unseen:  # the catalogue may not have these labels: the network was not trained on the shop's categories
            elsewhere = self._backend.nearest(direction, VOTERS, _within(loose, predicted_filter.field, unseen))
            known |= {str(hit.fields[predicted_filter.field]) for hit in elsewhere}
        categories = choose(votes, {name: score for name, score in predicted_filter.predicted.items() if name in known})
        if not categories:
            return [], self._backend.nearest(direction, k, query)
        hits = self._backend.nearest(direction, k, _within(query, predicted_filter.field, categories))
        if len(hits) < k:

            def place(hit: Hit) -> str | tuple[str, str]:
                return hit.product_id if query.group_by_product else (hit.product_id, hit.photo_id)

            there = set(map(place, hits))
            rest = [hit for hit in self._backend.nearest(direction, k, query) if place(hit) not in there]
            hits += rest[: k - len(hits)]
        return categories, hits


def _within(query: SearchQuery, name: str, values: list[str]) -> SearchQuery:
    return replace(query, conditions=(*query.conditions, Condition(name, "in", tuple(values))))


def _merge(pool: list[list[Hit]]) -> tuple[list[Hit], list[int]]:
    """Every photo once, with the number of the interest that is nearest to it."""
    best: dict[tuple[str, str], tuple[Hit, int]] = {}
    for number, hits in enumerate(pool):
        for hit in hits:
            key = (hit.product_id, hit.photo_id)
            if key not in best or hit.similarity > best[key][0].similarity:
                best[key] = (hit, number)
    return [hit for hit, _ in best.values()], [number for _, number in best.values()]


def _unit(embedding: Any) -> Floats:
    length = float(np.linalg.norm(embedding))
    if not np.isfinite(length) or length == 0:
        raise InvalidRequest(
            "The embedding has no direction; expected finite numbers that are not all 0.", Code.EMBEDDING_INVALID
        )
    return unit(embedding)
