"""Counts in this process: a record costs a microsecond, where a call of Triton's costs twenty. Pure.

Totals only rise. The model's thread writes them; whoever publishes reads them and remembers what it has published, so
nothing is lost when publishing is late or fails.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from metrics import Metric, format_bound


@dataclass(frozen=True)
class Series:
    """What has one value: a name and labels. A histogram is many."""

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

    def __init__(self, meter: Meter, position: int) -> None:
        self._meter = meter
        self._position = position

    def add(self, amount: float = 1) -> None:
        """Adds to the total."""
        self._meter.add(((self._position, amount),))


class Histogram:
    """Three kinds of totals: how many, their sum, and how many at or below each bound."""

    def __init__(self, meter: Meter, position: int, buckets: tuple[float, ...]) -> None:
        self._meter = meter
        self._position = position
        self._buckets = buckets

    def observe(self, value: float, times: int = 1) -> None:
        """Counts the value so many times over."""
        first = self._position + 2
        # From +Inf down to the smallest bound that holds it: they are laid out that way round.
        held = len(self._buckets) + 1 - bisect_left(self._buckets, value)
        self._meter.add(
            (
                (self._position, times),
                (self._position + 1, times * value),
                *((position, times) for position in range(first, first + held)),
            )
        )


class Meter:
    """All totals of one model in one process.

    Args:
        model: value of the label `model`.
        warm_ups: how many executions Triton starts with that answer nobody.

    Attributes:
        series: in the order of `totals`. A scrape between two of them finds a histogram's larger buckets first, so none
            is ever larger than the one above it.
        gauges: read when they are published.
    """

    def __init__(self, model: str, warm_ups: int = 0) -> None:
        self.model = model
        self.series: list[Series] = []
        self.gauges: list[Gauge] = []
        self._totals: list[float] = []
        self._warm_ups = warm_ups
        self._lock = threading.Lock()

    def counter(self, metric: Metric, **labels: str) -> Counter:
        """A counter at 0.

        Raises:
            ValueError: the metric is of another kind, has other labels, or allows other values.
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

    def gauge(self, metric: Metric, read: Callable[[], float], **labels: str) -> None:
        """Publishes what `read` returns, in the thread that publishes.

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
        """Goes around each of the model's executions; the first are the warm-up, which nothing is counted of."""
        try:
            yield
        finally:
            self._warm_ups = max(0, self._warm_ups - 1)

    def add(self, amounts: tuple[tuple[int, float], ...]) -> None:
        """Adds to totals by their positions, all or none as seen by `totals`."""
        if self.is_recording:
            with self._lock:
                for position, amount in amounts:
                    self._totals[position] += amount

    def totals(self) -> list[float]:
        """A copy, in the order of `series`."""
        with self._lock:
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
            raise ValueError(f"{metric.name}: labels {sorted(labels)}, declared are {sorted(metric.labels)}.")
        for name, value in labels.items():
            allowed = metric.labels[name]
            if allowed and value not in allowed:
                raise ValueError(f"{metric.name}: {name}={value!r}, declared are {', '.join(allowed)}.")
        return labels


def _check_kind(metric: Metric, kind: str) -> None:
    if metric.kind != kind:
        raise ValueError(f"{metric.name} is declared a {metric.kind}, not a {kind}.")
