"""Metrics of models `index` and `catalogue`. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from triptych_models.metrics import families
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.sources import by_source


class SearchMetrics:
    """Metrics of the searches of `index`.

    Args:
        registry: registry of the model.
        photos: returns the number of photos that searches cover.
        unindexed: returns the number of them that are not in the HNSW graph.
    """

    def __init__(self, registry: MetricRegistry, photos: Callable[[], float], unindexed: Callable[[], float]) -> None:
        self._seconds = by_source(registry.histogram, families.SEARCH_DURATION)
        self._empty = by_source(registry.counter, families.SEARCHES_EMPTY)
        self._top = by_source(registry.histogram, families.TOP_SIMILARITY)
        registry.gauge(families.CATALOGUE_PHOTOS, photos)
        registry.gauge(families.CATALOGUE_UNINDEXED, unindexed)

    @contextmanager
    def timed(self, source: str) -> Iterator[None]:
        """Records the duration of a request that succeeds."""
        started_s = time.perf_counter()
        yield
        self._seconds[source].observe(time.perf_counter() - started_s)

    def record_answer(self, similarities: Sequence[float], source: str) -> None:
        """Records the similarities of one search, the highest first."""
        if similarities:
            self._top[source].observe(similarities[0])
        else:
            self._empty[source].add()


class RebuildMetrics:
    """Metrics of the rebuilds of `index`; see `search.rebuild_reports.RebuildObserver`."""

    def __init__(self, registry: MetricRegistry) -> None:
        self._progress = 1.0
        self._ended = {
            succeeded: registry.counter(families.REBUILDS, outcome=outcome)
            for succeeded, outcome in ((True, families.DONE), (False, families.FAILED))
        }
        registry.gauge(families.REBUILD_PROGRESS, lambda: self._progress)

    def progressed(self, ratio: float) -> None:
        """See `RebuildObserver`."""
        self._progress = ratio

    def ended(self, succeeded: bool) -> None:
        """See `RebuildObserver`."""
        self._ended[succeeded].add()


class CatalogueMetrics:
    """Metrics of the calls of `catalogue`."""

    def __init__(self, registry: MetricRegistry) -> None:
        self._requests = {
            (call, outcome): registry.counter(families.CATALOGUE_REQUESTS, call=call, outcome=outcome)
            for call in families.CATALOGUE_CALLS
            for outcome in (families.ANSWERED, families.REFUSED, families.FAILED)
        }
        self._upserted = registry.counter(families.CATALOGUE_UPSERTED)

    def record(self, call: str, outcome: str, upserted: int = 0) -> None:
        """Records a call that has ended; a call of an unknown name is counted as `other`."""
        known = call if call in families.CATALOGUE_CALLS else "other"
        self._requests[known, outcome].add()
        if upserted:
            self._upserted.add(upserted)
