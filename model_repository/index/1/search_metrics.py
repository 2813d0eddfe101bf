"""What `index` and `catalogue` record of their requests. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import metrics
from meter import Meter


class SearchMetrics:
    """Of `index`.

    Args:
        meter: of the model.
        photos: how many searches look through now.
        unindexed: how many of them no graph covers.
    """

    def __init__(self, meter: Meter, photos: Callable[[], float], unindexed: Callable[[], float]) -> None:
        self._seconds = meter.histogram(metrics.SEARCH_DURATION)
        self._errors = {
            reason: meter.counter(metrics.SEARCH_ERRORS, reason=reason) for reason in metrics.SEARCH_REASONS
        }
        self._empty = meter.counter(metrics.SEARCHES_EMPTY)
        self._top = meter.histogram(metrics.TOP_SIMILARITY)
        meter.gauge(metrics.CATALOGUE_PHOTOS, photos)
        meter.gauge(metrics.CATALOGUE_UNINDEXED, unindexed)

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Takes the time of a request that succeeds, and counts one that does not."""
        started_s = time.perf_counter()
        try:
            yield
        except Exception as error:
            self._errors[getattr(error, "reason", metrics.INTERNAL)].add()
            raise
        self._seconds.observe(time.perf_counter() - started_s)

    def record_answer(self, similarities: Sequence[float]) -> None:
        """Of one search, falling."""
        if similarities:
            self._top.observe(similarities[0])
        else:
            self._empty.add()


class CatalogueMetrics:
    """Of `catalogue`."""

    def __init__(self, meter: Meter) -> None:
        self._requests = {
            (call, outcome): meter.counter(metrics.CATALOGUE_REQUESTS, call=call, outcome=outcome)
            for call in metrics.CATALOGUE_CALLS
            for outcome in (metrics.ANSWERED, metrics.REFUSED, metrics.FAILED)
        }
        self._upserted = meter.counter(metrics.CATALOGUE_UPSERTED)

    def record(self, call: str, outcome: str, upserted: int = 0) -> None:
        """A call that has ended; one of a name that there is not is `other`."""
        known = call if call in metrics.CATALOGUE_CALLS else "other"
        self._requests[known, outcome].add()
        if upserted:
            self._upserted.add(upserted)
