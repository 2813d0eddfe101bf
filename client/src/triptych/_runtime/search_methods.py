"""The search methods of `Client` and `AsyncClient`: their signatures and documentation. `_core` has the calls."""

from __future__ import annotations

import warnings
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from triptych._core import matching, recommendation, search
from triptych._core.matching import MatchThresholds
from triptych._core.recommendation import Event, PreferenceOptions
from triptych._core.search import Filter, Query, Vector
from triptych.errors import InvalidInput
from triptych.results import MatchDecision, Recommendations, SearchResult

if TYPE_CHECKING:
    import datetime

    from triptych._core.session import Options, Session
    from triptych._core.steps import Steps
    from triptych._images.photo import ImageLike
    from triptych._images.pixels import Box

T = TypeVar("T")


class SearchMethods:
    """The methods of `Client` that search the server's catalogue."""

    _session: Session
    _options: Options

    def _run(self, steps: Steps[T]) -> T:
        raise NotImplementedError

    def search(
        self,
        image: ImageLike,
        *,
        k: int = 10,
        filter: Filter | None = None,
        min_similarity: float | None = None,
        group_by_product: bool = True,
        predicted_filter: str | None = None,
        box: Box | None = None,
        narrow_by: str | None = None,
    ) -> SearchResult:
        """Finds the products of the catalogue that are most similar to a photo. Needs no key.

        Args:
            image: one photo; see `ImageLike`.
            k: the largest number of results, 1 to 1000.
            filter: conditions on the products' fields; see `Filter`.
            min_similarity: the smallest similarity of a result: a cosine, -1 to 1.
            group_by_product: returns each product once, by its most similar photo; otherwise each photo.
            predicted_filter: a field of the products, for example "category". The server predicts the values of this
                field, from the labels of the photo and a vote of its neighbours in the catalogue, and returns products
                with these values first.
            box: (left, top, right, bottom) in pixels of the upright photo: searches with this part alone.
            narrow_by: deprecated name of `predicted_filter`; removed in the next release.

        Raises:
            InvalidInput: an argument has a wrong type or value, or the filter names a field that no product has.
            IncompatibleIndex: another embedder than the one that serves embedded the catalogue.
            ContractMismatch: the server has no catalogue.
            TriptychError: see `recognize`.
        """
        query = Query(
            k, filter, min_similarity, group_by_product, predicted_filter=_current_name(predicted_filter, narrow_by)
        )
        return self._run(search.search(self._session, self._options, image, query, box))

    def search_embedding(
        self,
        embedding: Vector,
        *,
        k: int = 10,
        filter: Filter | None = None,
        min_similarity: float | None = None,
        group_by_product: bool = True,
        predicted_filter: str | None = None,
        exact: bool = False,
        narrow_by: str | None = None,
    ) -> SearchResult:
        """Like `search`, with an embedding of this server: the result of `embed` or `recognize`, or `float32[D]`.

        Args:
            embedding: of any norm above 0.
            k: see `search`.
            filter: see `search`.
            min_similarity: see `search`.
            group_by_product: see `search`.
            predicted_filter: see `search`; the labels of the photo are used where a `Recognition` is passed.
            exact: compares with every photo instead of searching the approximate index.
            narrow_by: deprecated name of `predicted_filter`; removed in the next release.
        """
        query = Query(k, filter, min_similarity, group_by_product, exact, _current_name(predicted_filter, narrow_by))
        return self._run(search.search_vector(self._session, self._options, embedding, query))

    def similar_to(
        self,
        product_id: str,
        *,
        k: int = 10,
        filter: Filter | None = None,
        min_similarity: float | None = None,
        group_by_product: bool = True,
    ) -> SearchResult:
        """Like `search`, with a product of the catalogue, which the results do not include.

        Raises:
            InvalidInput: the catalogue has no such product.
            TriptychError: see `search`.
        """
        query = Query(k, filter, min_similarity, group_by_product)
        return self._run(search.search_product(self._session, self._options, product_id, query))

    def recommend(
        self,
        events: Sequence[Event],
        *,
        k: int = 10,
        popular: Sequence[str] = (),
        filter: Filter | None = None,
        half_life_days: float = 14.0,
        diversity: float = 0.3,
        interests: int = 3,
        include_seen: bool = False,
        weights: Mapping[str, float] | None = None,
        now: datetime.datetime | float | None = None,
    ) -> Recommendations:
        """Recommends products to a shopper: products similar to those of the events, then popular ones.

        Events are weighted by kind and age and clustered into at most `interests` interests. Each interest gets a share
        of the results by its weight; within an interest, maximal marginal relevance (MMR) trades similarity for
        diversity. Needs no key.

        Args:
            events: the events of one shopper; no events is a cold start.
            k: the largest number of products, 1 to 1000.
            popular: product ids, best first, for a cold start and to fill up the results; the filter does not apply to
                them. `popular_products` computes them from the events of all shoppers.
            filter: conditions on the products' fields; see `Filter`.
            half_life_days: the weight of an event halves in this time.
            diversity: from 0 (most similar products) to 1 (most different products).
            interests: the largest number of interests; similar products share one.
            include_seen: recommends products of the events too, except purchased ones.
            weights: kind of event -> weight; the defaults are `EVENT_WEIGHTS`.
            now: the time from which the age of an event is measured; None is the current time.

        Raises:
            InvalidInput: an argument has a wrong type or value, or the filter names a field that no product has.
            IncompatibleIndex: another embedder than the one that serves embedded the catalogue.
            ContractMismatch: the server has no catalogue.
            TriptychError: see `recognize`.
        """
        query = Query(k, filter)
        preferences = PreferenceOptions(half_life_days, diversity, interests, include_seen, weights, now)
        return self._run(recommendation.recommend(self._session, self._options, events, query, preferences, popular))

    def match(
        self,
        image: ImageLike | None = None,
        *,
        product_id: str | None = None,
        filter: Filter | None = None,
        thresholds: MatchThresholds | None = None,
    ) -> MatchDecision:
        """Decides whether a photo shows a product of the catalogue, and names the evidence.

        Checks, in this order: the same file (sha256), an altered copy of it (perceptual hash), the embedding. With
        `product_id` the first two need the catalogue's key; without the key only the embedding is compared.

        Args:
            image: one photo; pass either `image` or `product_id`.
            product_id: a product of the catalogue, compared with the others.
            filter: conditions on the products to compare with; see `Filter`.
            thresholds: the limits of a match.

        Raises:
            InvalidInput: both or neither of `image` and `product_id` were passed.
            TriptychError: see `search`.
        """
        steps = matching.match(self._session, self._options, image, product_id, filter, thresholds)
        return self._run(steps)


class AsyncSearchMethods:
    """`SearchMethods` for an event loop."""

    _session: Session
    _options: Options

    def _run(self, steps: Steps[T]) -> Coroutine[Any, Any, T]:
        raise NotImplementedError

    async def search(
        self,
        image: ImageLike,
        *,
        k: int = 10,
        filter: Filter | None = None,
        min_similarity: float | None = None,
        group_by_product: bool = True,
        predicted_filter: str | None = None,
        box: Box | None = None,
        narrow_by: str | None = None,
    ) -> SearchResult:
        """See `Client.search`."""
        query = Query(
            k, filter, min_similarity, group_by_product, predicted_filter=_current_name(predicted_filter, narrow_by)
        )
        return await self._run(search.search(self._session, self._options, image, query, box))

    async def search_embedding(
        self,
        embedding: Vector,
        *,
        k: int = 10,
        filter: Filter | None = None,
        min_similarity: float | None = None,
        group_by_product: bool = True,
        predicted_filter: str | None = None,
        exact: bool = False,
        narrow_by: str | None = None,
    ) -> SearchResult:
        """See `Client.search_embedding`."""
        query = Query(k, filter, min_similarity, group_by_product, exact, _current_name(predicted_filter, narrow_by))
        return await self._run(search.search_vector(self._session, self._options, embedding, query))

    async def similar_to(
        self,
        product_id: str,
        *,
        k: int = 10,
        filter: Filter | None = None,
        min_similarity: float | None = None,
        group_by_product: bool = True,
    ) -> SearchResult:
        """See `Client.similar_to`."""
        query = Query(k, filter, min_similarity, group_by_product)
        return await self._run(search.search_product(self._session, self._options, product_id, query))

    async def recommend(
        self,
        events: Sequence[Event],
        *,
        k: int = 10,
        popular: Sequence[str] = (),
        filter: Filter | None = None,
        half_life_days: float = 14.0,
        diversity: float = 0.3,
        interests: int = 3,
        include_seen: bool = False,
        weights: Mapping[str, float] | None = None,
        now: datetime.datetime | float | None = None,
    ) -> Recommendations:
        """See `Client.recommend`."""
        query = Query(k, filter)
        preferences = PreferenceOptions(half_life_days, diversity, interests, include_seen, weights, now)
        return await self._run(
            recommendation.recommend(self._session, self._options, events, query, preferences, popular)
        )

    async def match(
        self,
        image: ImageLike | None = None,
        *,
        product_id: str | None = None,
        filter: Filter | None = None,
        thresholds: MatchThresholds | None = None,
    ) -> MatchDecision:
        """See `Client.match`."""
        steps = matching.match(self._session, self._options, image, product_id, filter, thresholds)
        return await self._run(steps)


def _current_name(predicted_filter: str | None, narrow_by: str | None) -> str | None:
    """The value of `predicted_filter`, also where it was passed by its deprecated name."""
    if narrow_by is None:
        return predicted_filter
    warnings.warn("narrow_by is deprecated: pass predicted_filter.", DeprecationWarning, stacklevel=3)
    if predicted_filter is not None:
        raise InvalidInput(
            "predicted_filter and its deprecated name narrow_by were both passed; pass predicted_filter."
        )
    return narrow_by
