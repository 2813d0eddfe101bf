"""What each stage records of its requests, in the fused `recognizer` and in the steps of the ensemble alike. Pure."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

import metrics
from meter import Meter
from running_mean import RunningMean

# In labels.txt a class that a shop sells is "<retail category> / <name>".
SEPARATOR = " / "

Floats = npt.NDArray[np.float32]


class StageMetrics:
    """Time and errors of one stage.

    Args:
        meter: of the model.
        stage: one of `metrics.STAGES`.
    """

    def __init__(self, meter: Meter, stage: str) -> None:
        self.model = meter.model
        self.stage = stage
        self._seconds = meter.histogram(metrics.STAGE_DURATION, stage=stage)
        self._errors = {
            reason: meter.counter(metrics.REQUEST_ERRORS, stage=stage, reason=reason)
            for reason in metrics.REASONS[stage]
        }

    @contextmanager
    def timed(self, requests: int = 1) -> Iterator[None]:
        """Takes the time of what succeeds, once for each of the requests it was done for."""
        started_s = time.perf_counter()
        yield
        self._seconds.observe(time.perf_counter() - started_s, requests)

    def count_error(self, reason: str, requests: int = 1) -> None:
        """Counts requests that get no answer because of this stage."""
        self._errors[reason].add(requests)


class DecodeMetrics(StageMetrics):
    """Of encoded photos."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(meter, metrics.DECODE)
        self._size_bytes = meter.histogram(metrics.PHOTO_SIZE_BYTES)
        self._size_pixels = meter.histogram(metrics.PHOTO_SIZE_PIXELS)

    def record_photo(self, size_bytes: int, size_pixels: int) -> None:
        """A photo that was decoded."""
        self._size_bytes.observe(size_bytes)
        self._size_pixels.observe(size_pixels)


class EmbedMetrics(StageMetrics):
    """Of embeddings.

    Args:
        meter: of the model.
        running_mean: None where the release has no reference.
    """

    def __init__(self, meter: Meter, running_mean: RunningMean | None) -> None:
        super().__init__(meter, metrics.EMBED)
        self._meter = meter
        self._running_mean = running_mean
        if running_mean is not None:
            meter.gauge(metrics.DRIFT, running_mean.drift)

    def record_answer(self, embeddings: Floats) -> None:
        """float32[N,D], L2 norm 1; must not be changed afterwards."""
        if self._running_mean is not None:
            self._meter.note(self._running_mean.add, embeddings)


class ClassifyMetrics(StageMetrics):
    """Of category scores.

    Args:
        meter: of the model.
        labels: a line a class, as in labels.txt.
        abstain_below: a best score under this is no answer to build on.
    """

    def __init__(self, meter: Meter, labels: Sequence[str], abstain_below: float) -> None:
        super().__init__(meter, metrics.CLASSIFY)
        self._meter = meter
        self._abstain_below = abstain_below
        self._photos = meter.counter(metrics.PHOTOS)
        self._top1 = meter.histogram(metrics.TOP1_SCORE)
        self._abstained = meter.counter(metrics.ABSTAINED)
        categories = categories_of(labels)
        counters = {name: meter.counter(metrics.PREDICTIONS, category=name) for name in dict.fromkeys(categories)}
        self._by_class = [counters[category] for category in categories]

    def record_answer(self, category_scores: Floats) -> None:
        """float32[N,C], 0 to 1; must not be changed afterwards."""
        self._meter.note(self._count, category_scores)

    def _count(self, category_scores: Floats) -> None:
        self._photos.add(len(category_scores))
        for scores in category_scores:
            best = int(scores.argmax())
            score = float(scores[best])
            self._top1.observe(score)
            self._by_class[best].add()
            if score < self._abstain_below:
                self._abstained.add()


def categories_of(labels: Sequence[str]) -> list[str]:
    """The value of the label `category` for each class: no more than `MAX_CATEGORIES` different ones and two more."""
    named = dict.fromkeys(label.partition(SEPARATOR)[0] for label in labels if SEPARATOR in label)
    known = set(list(named)[: metrics.MAX_CATEGORIES])
    categories = []
    for label in labels:
        category, separator, _ = label.partition(SEPARATOR)
        if not separator:
            categories.append(metrics.NO_CATEGORY)
        else:
            categories.append(category if category in known else metrics.OTHER_CATEGORY)
    return categories


def record_shared_memory(meter: Meter) -> None:
    """Free bytes of /dev/shm, as any user may take them."""

    def read() -> float:
        status = os.statvfs("/dev/shm")
        return float(status.f_bavail * status.f_frsize)

    meter.gauge(metrics.SHARED_MEMORY_FREE, read)


class CacheMetrics:
    """Of the answer cache, in photos."""

    def __init__(self, meter: Meter) -> None:
        self.hits = meter.counter(metrics.CACHE_HITS)
        self.misses = meter.counter(metrics.CACHE_MISSES)
