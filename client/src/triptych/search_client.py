"""The searching side of `Client` and of `AsyncClient`; how a call goes belongs to `searching` and `match_calls`."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from triptych import match_calls, recommending, searching
from triptych.catalogue import AsyncCatalogue, Catalogue
from triptych.matching import MatchThresholds
from triptych.recommending import Event, TasteOptions
from triptych.results import MatchDecision, Recommendations, SearchResult
from triptych.searching import Filter, Query, Vector

if TYPE_CHECKING:
    import datetime

    from triptych.calls import Options, Session, Steps
    from triptych.photo import ImageLike
    from triptych.pixels import Box

T = TypeVar("T")


class Searching:
    """What a client asks about the server's catalogue."""

    _session: Session
    _options: Options

    def _run(self, steps: Steps[T]) -> T:
        raise NotImplementedError

    @property
    def catalogue(self) -> Catalogue:
        """Reading and writing of the catalogue, for who has its key."""
        return Catalogue(self)

    def search(
        self,
        image: ImageLike,
        *,
        k: int = 10,
        filter: Filter | None = None,
        min_similarity: float | None = None,
        group_by_product: bool = True,
        narrow_by: str | None = None,
        box: Box | None = None,
    ) -> SearchResult:
        """Finds the products of the catalogue that look most like a photo. Needs no key.

        Args:
            image: one photo; see `ImageLike`.
            k: how many results at most, 1 to 1000.
            filter: conditions on the products' fields; see `Filter`.
            min_similarity: leaves out what is less alike: a cosine, -1 to 1.
            group_by_product: gives each product once, by its most similar photo; else each photo.
            narrow_by: a field of the products, "category" for example: searches the likeliest of its values, by what
                the network says of the photo and what its neighbours in the catalogue are; others come behind.
            box: (left, top, right, bottom) in pixels of the upright photo: searches with that part alone.

        Raises:
            InvalidInput: an argument is of a wrong kind, or the filter names a field that no product has.
            IncompatibleIndex: the catalogue is of another embedder than the one that serves.
            ContractMismatch: the server has no catalogue; further, what `recognize` raises.
        """
        query = Query(k, filter, min_similarity, group_by_product, narrow_by=narrow_by)
        return self._run(searching.search(self._session, self._options, image, query, box))

    def search_embedding(
        self,
        embedding: Vector,
        *,
        k: int = 10,
        filter: Filter | None = None,
        min_similarity: float | None = None,
        group_by_product: bool = True,
        narrow_by: str | None = None,
        exact: bool = False,
    ) -> SearchResult:
        """Like `search`, with an embedding of this server's: what `embed` or `recognize` gave, or `float32[D]`.

        Args:
            embedding: of any length above 0.
            k: see `search`.
            filter: see `search`.
            min_similarity: see `search`.
            group_by_product: see `search`.
            narrow_by: see `search`; what the network says counts where a `Recognition` is passed.
            exact: compares with every photo where the server would otherwise take a short cut.
        """
        query = Query(k, filter, min_similarity, group_by_product, exact, narrow_by)
        return self._run(searching.search_vector(self._session, self._options, embedding, query))

    def similar_to(
        self,
        product_id: str,
        *,
        k: int = 10,
        filter: Filter | None = None,
        min_similarity: float | None = None,
        group_by_product: bool = True,
    ) -> SearchResult:
        """Like `search`, with a product of the catalogue, which is not among the results.

        Raises:
            InvalidInput: the catalogue has no such product; further, what `search` raises.
        """
        query = Query(k, filter, min_similarity, group_by_product)
        return self._run(searching.search_product(self._session, self._options, product_id, query))

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
        """Recommends products by what somebody did: like those they dealt with, and popular ones for the rest.

        Events are weighed by kind and age and make up to `interests` directions, each of which gets places by its
        weight; within one, products that are unlike those already taken come first (MMR). Needs no key.

        Args:
            events: of one shopper; none is a cold start.
            k: how many products at most, 1 to 1000.
            popular: product ids, best first, for a cold start and where the catalogue has too little; taken as they
                are, whatever the filter. `popular_products` makes them from everybody's events.
            filter: conditions on the products' fields; see `Filter`.
            half_life_days: an event this old counts half.
            diversity: 0 takes the nearest, 1 the most unlike.
            interests: directions at most; products that are alike share one.
            include_seen: recommends what was looked at too; what was bought is left out in any case.
            weights: kind of event -> how much it says, instead of 1 for a view, 2 a click, 4 in the cart, 8 bought.
            now: the time ages are measured from; None is the clock's.

        Raises:
            InvalidInput: an argument is of a wrong kind, or the filter names a field that no product has.
            IncompatibleIndex: the catalogue is of another embedder than the one that serves.
            ContractMismatch: the server has no catalogue; further, what `recognize` raises.
        """
        query = Query(k, filter)
        taste = TasteOptions(half_life_days, diversity, interests, include_seen, weights, now)
        return self._run(recommending.recommend(self._session, self._options, events, query, taste, popular))

    def match(
        self,
        image: ImageLike | None = None,
        *,
        product_id: str | None = None,
        filter: Filter | None = None,
        thresholds: MatchThresholds | None = None,
    ) -> MatchDecision:
        """Says whether a photo shows a product that the catalogue has, and by which evidence.

        In turn: the same file (sha256), an altered copy of it (perceptual hash), the embedding. For a
        product the first two need the catalogue's key; without it the embedding decides alone.

        Args:
            image: one photo; or
            product_id: of a product in the catalogue, compared with the others.
            filter: conditions on what is compared with; see `Filter`.
            thresholds: where a match begins.

        Raises:
            InvalidInput: not one of photo and product_id; further, what `search` raises.
        """
        steps = match_calls.match(self._session, self._options, image, product_id, filter, thresholds)
        return self._run(steps)


class AsyncSearching:
    """`Searching` for an event loop."""

    _session: Session
    _options: Options

    def _run(self, steps: Steps[T]) -> Coroutine[Any, Any, T]:
        raise NotImplementedError

    @property
    def catalogue(self) -> AsyncCatalogue:
        """Reading and writing of the catalogue, for who has its key."""
        return AsyncCatalogue(self)

    async def search(
        self,
        image: ImageLike,
        *,
        k: int = 10,
        filter: Filter | None = None,
        min_similarity: float | None = None,
        group_by_product: bool = True,
        narrow_by: str | None = None,
        box: Box | None = None,
    ) -> SearchResult:
        """See `Client.search`."""
        query = Query(k, filter, min_similarity, group_by_product, narrow_by=narrow_by)
        return await self._run(searching.search(self._session, self._options, image, query, box))

    async def search_embedding(
        self,
        embedding: Vector,
        *,
        k: int = 10,
        filter: Filter | None = None,
        min_similarity: float | None = None,
        group_by_product: bool = True,
        narrow_by: str | None = None,
        exact: bool = False,
    ) -> SearchResult:
        """See `Client.search_embedding`."""
        query = Query(k, filter, min_similarity, group_by_product, exact, narrow_by)
        return await self._run(searching.search_vector(self._session, self._options, embedding, query))

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
        return await self._run(searching.search_product(self._session, self._options, product_id, query))

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
        taste = TasteOptions(half_life_days, diversity, interests, include_seen, weights, now)
        return await self._run(recommending.recommend(self._session, self._options, events, query, taste, popular))

    async def match(
        self,
        image: ImageLike | None = None,
        *,
        product_id: str | None = None,
        filter: Filter | None = None,
        thresholds: MatchThresholds | None = None,
    ) -> MatchDecision:
        """See `Client.match`."""
        steps = match_calls.match(self._session, self._options, image, product_id, filter, thresholds)
        return await self._run(steps)
