"""Counts events in the process, where a call of Triton's metric API would take 20 us. Pure.

The model's thread only queues the events; the publishing thread counts them once a second. Between two photos the
network has evicted the processor's caches, and counting in the model's thread takes five times as long. Totals only
rise and the publisher remembers the published totals, so a failure to publish loses nothing.
"""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from triptych_models.metrics.families import Metric, format_bound


@dataclass(frozen=True)
class Series:
    """One series: a name and labels. A histogram has several."""

    name: str
    meaning: str
    labels: dict[str, str]


@dataclass(frozen=True)
class Gauge:
    """A series whose value is read when it is published."""

    series: Series
    read: Callable[[], float]


class Counter:
    """A total that rises."""

    def __init__(self, registry: MetricRegistry, position: int) -> None:
        self._registry = registry
        self._position = position

    def add(self, amount: float = 1) -> None:
        """Adds to the total."""
        self._registry.note(self._registry.add, self._position, amount)

    def add_now(self, amount: float) -> None:
        """Adds to the total in the thread that reads the totals, also while Triton warms the model up."""
        self._registry.add(self._position, amount)


class Histogram:
    """A histogram: number of values, their sum, and the number of values at or below each bound."""

    def __init__(self, registry: MetricRegistry, position: int, buckets: tuple[float, ...]) -> None:
        self._registry = registry
        self._position = position
        self._buckets = buckets

    def observe(self, value: float, times: int = 1) -> None:
        """Counts the value `times` times."""
        self._registry.note(self._count, value, times)

    def _count(self, value: float, times: int) -> None:
        first = self._position + 2
        # Bounds from +Inf down to the smallest one that is at or above the value: the order of the totals.
        held = len(self._buckets) + 1 - bisect_left(self._buckets, value)
        self._registry.add(self._position, times)
        self._registry.add(self._position + 1, times * value)
        for position in range(first, first + held):
            self._registry.add(position, times)


class MetricRegistry:
    """All totals of one model in one process.

    Args:
        model: value of label `model`.
        warm_ups: number of warm-up executions, with which Triton starts.

    Attributes:
        series: in the order of `totals`. A scrape between two of them reads a histogram's larger buckets first, so that
            no bucket is larger than the next one.
        gauges: read when they are published.
        failures: errors of counting, for the log; the last few.
    """

    def __init__(self, model: str, warm_ups: int = 0) -> None:
        self.model = model
        self.series: list[Series] = []
        self.gauges: list[Gauge] = []
        self.failures: deque[str] = deque(maxlen=4)
        self._totals: list[float] = []
        self._clocks: list[tuple[Counter, float]] = []
        self._warm_ups = warm_ups
        # Appending needs no lock.
        self._noted: deque[tuple[Callable[..., None], tuple[Any, ...]]] = deque()
        self._counting = threading.Lock()

    def counter(self, metric: Metric, **labels: str) -> Counter:
        """A counter at 0.

        Raises:
            ValueError: the metric has another kind, other labels or other label values.
        """
        return Counter(self, self._open(metric, "counter", [("", self._labels(metric, labels))]))

    def histogram(self, metric: Metric, **labels: str) -> Histogram:
        """A histogram at 0.

        Raises:
            ValueError: as `counter`.
        """
        own = self._labels(metric, labels)
        bounds = ["+Inf", *map(format_bound, reversed(metric.buckets))]
        parts = [("_count", own), ("_sum", own), *(("_bucket", {**own, "le": bound}) for bound in bounds)]
        return Histogram(self, self._open(metric, "histogram", parts), metric.buckets)

    def clock(self, counter: Counter) -> None:
        """Makes the counter rise by one each second, from now on."""
        self._clocks.append((counter, time.monotonic()))

    def gauge(self, metric: Metric, read: Callable[[], float], **labels: str) -> None:
        """Publishes the value that `read` returns; called in the publishing thread.

        Raises:
            ValueError: as `counter`.
        """
        _check_kind(metric, "gauge")
        self.gauges.append(Gauge(Series(metric.name, metric.meaning, self._labels(metric, labels)), read))

    @property
    def is_recording(self) -> bool:
        """False while Triton warms the model up."""
        return self._warm_ups == 0

    @contextmanager
    def execution(self) -> Iterator[None]:
        """Context of each execution of the model; nothing is counted in the first ones, the warm-up."""
        try:
            yield
        finally:
            self._warm_ups = max(0, self._warm_ups - 1)

    def note(self, count: Callable[..., None], *values: Any) -> None:
        """Queues a call of `count` for the thread that reads the totals."""
        if self.is_recording:
            self._noted.append((count, values))

    def add(self, position: int, amount: float) -> None:
        """Adds to the total at a position. Only for the thread that reads the totals."""
        self._totals[position] += amount

    def totals(self) -> list[float]:
        """Counts the queued events; returns a copy of the totals, in the order of `series`."""
        with self._counting:
            now_s = time.monotonic()
            for counter, since_s in self._clocks:
                counter.add_now(now_s - since_s)
            self._clocks = [(counter, now_s) for counter, _ in self._clocks]
            while self._noted:  # counting an answer queues more events
                count, values = self._noted.popleft()
                try:
                    count(*values)
                except Exception as error:  # other events are still counted
                    self.failures.append(f"{type(error).__name__}: {error}")
            return list(self._totals)

    def _open(self, metric: Metric, kind: str, parts: list[tuple[str, dict[str, str]]]) -> int:
        _check_kind(metric, kind)
        position = len(self.series)
        self.series += [Series(metric.name + suffix, metric.meaning, labels) for suffix, labels in parts]
        self._totals += [0.0] * len(parts)
        return position

    def _labels(self, metric: Metric, given: dict[str, str]) -> dict[str, str]:
        labels = {"model": self.model, **given} if "model" in metric.labels else given
        if labels.keys() != metric.labels.keys():
            raise ValueError(f"{metric.name} got the labels {sorted(labels)}; declared are {sorted(metric.labels)}.")
        for name, value in labels.items():
            allowed = metric.labels[name]
            if allowed and value not in allowed:
                raise ValueError(f"{metric.name} got {name}={value!r}; declared are {', '.join(allowed)}.")
        return labels


def _check_kind(metric: Metric, kind: str) -> None:
    if metric.kind != kind:
        raise ValueError(f"{metric.name} is declared as a {metric.kind}, not a {kind}.")
