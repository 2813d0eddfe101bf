"""What `index` and `catalogue` record of their requests. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from triptych_models.metrics import families
from triptych_models.metrics.registry import MetricRegistry


class SearchMetrics:
    """Of `index`.

    Args:
        registry: of the model.
        photos: how many searches look through now.
        unindexed: how many of them no graph covers.
    """

    def __init__(self, registry: MetricRegistry, photos: Callable[[], float], unindexed: Callable[[], float]) -> None:
        self._seconds = registry.histogram(families.SEARCH_DURATION)
        self._empty = registry.counter(families.SEARCHES_EMPTY)
        self._top = registry.histogram(families.TOP_SIMILARITY)
        registry.gauge(families.CATALOGUE_PHOTOS, photos)
        registry.gauge(families.CATALOGUE_UNINDEXED, unindexed)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Takes the time of a request that succeeds."""
        started_s = time.perf_counter()
        yield
        self._seconds.observe(time.perf_counter() - started_s)

    def record_answer(self, similarities: Sequence[float]) -> None:
        """Of one search, falling."""
        if similarities:
            self._top.observe(similarities[0])
        else:
            self._empty.add()


class RebuildMetrics:
    """Of `index`; see `search.rebuild_reports.RebuildObserver`."""

    def __init__(self, registry: MetricRegistry) -> None:
        self._progress = 1.0
        self._ended = {
            succeeded: registry.counter(families.REBUILDS, outcome=outcome)
            for succeeded, outcome in ((True, families.DONE), (False, families.FAILED))
        }
        registry.gauge(families.REBUILD_PROGRESS, lambda: self._progress)

    def progressed(self, ratio: float) -> None:
        """Of the rebuild that runs; 1 where none does."""
        self._progress = ratio

    def ended(self, succeeded: bool) -> None:
        """A try that ended."""
        self._ended[succeeded].add()


class CatalogueMetrics:
    """Of `catalogue`."""

    def __init__(self, registry: MetricRegistry) -> None:
        self._requests = {
            (call, outcome): registry.counter(families.CATALOGUE_REQUESTS, call=call, outcome=outcome)
            for call in families.CATALOGUE_CALLS
            for outcome in (families.ANSWERED, families.REFUSED, families.FAILED)
        }
        self._upserted = registry.counter(families.CATALOGUE_UPSERTED)

    def record(self, call: str, outcome: str, upserted: int = 0) -> None:
        """A call that has ended; one of a name that there is not is `other`."""
        known = call if call in families.CATALOGUE_CALLS else "other"
        self._requests[known, outcome].add()
        if upserted:
            self._upserted.add(upserted)
