"""Metrics of each stage, in the fused `recognizer` and in the steps of the ensemble alike. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from triptych_models.metrics import families
from triptych_models.metrics.embedding_drift import RunningMean
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.sources import SHOPPER, by_source

# In labels.txt, a class that a shop sells is "<retail category> / <name>".
SEPARATOR = " / "

Floats = npt.NDArray[np.float32]


class StageMetrics:
    """The duration of one stage.

    Args:
        registry: registry of the model.
        stage: one of `families.STAGES`.
        labels: label `model`, where it differs from the registry's.
    """

    def __init__(self, registry: MetricRegistry, stage: str, **labels: str) -> None:
        self._seconds = registry.histogram(families.STAGE_DURATION, stage=stage, **labels)

    @contextmanager
    def timed(self, requests: int = 1) -> Iterator[None]:
        """Records the duration of the code inside, if it succeeds, once for each of its requests."""
        started_s = time.perf_counter()
        yield
        self.observe(time.perf_counter() - started_s, requests)

    def observe(self, duration_s: float, requests: int) -> None:
        """Records a duration that the caller measured."""
        self._seconds.observe(duration_s, requests)


class DecodeMetrics(StageMetrics):
    """Metrics of decoding."""

    def __init__(self, registry: MetricRegistry) -> None:
        super().__init__(registry, families.DECODE)
        self._size_bytes = by_source(registry.histogram, families.PHOTO_SIZE_BYTES)
        self._size_pixels = by_source(registry.histogram, families.PHOTO_SIZE_PIXELS)

    def record_photo(self, source: str, size_bytes: int, size_pixels: int) -> None:
        """Records the size of a decoded photo."""
        self._size_bytes[source].observe(size_bytes)
        self._size_pixels[source].observe(size_pixels)


class EmbedMetrics(StageMetrics):
    """Metrics of embeddings.

    Args:
        registry: registry of the model.
        running_mean: None where the release has no reference.
        labels: label `model`, where it differs from the registry's.
    """

    def __init__(self, registry: MetricRegistry, running_mean: RunningMean | None, **labels: str) -> None:
        super().__init__(registry, families.EMBED, **labels)
        self._registry = registry
        self._running_mean = running_mean
        if running_mean is not None:
            registry.gauge(families.DRIFT, running_mean.drift, **labels)

    def record_answer(self, embeddings: Floats, source: str) -> None:
        """Records shoppers' embeddings float32[N,D] of L2 norm 1, which must not change afterwards."""
        if self._running_mean is not None and source == SHOPPER:
            self._registry.note(self._running_mean.add, embeddings)


class ClassifyMetrics(StageMetrics):
    """Metrics of category scores.

    Args:
        registry: registry of the model.
        labels: one label for each class, as in labels.txt.
        abstain_below: a photo whose best score is lower is counted as an abstention.
    """

    def __init__(self, registry: MetricRegistry, labels: Sequence[str], abstain_below: float) -> None:
        super().__init__(registry, families.CLASSIFY)
        self._registry = registry
        self._abstain_below = abstain_below
        self._photos = by_source(registry.counter, families.PHOTOS)
        self._top1 = by_source(registry.histogram, families.TOP1_SCORE)
        self._abstained = by_source(registry.counter, families.ABSTAINED)
        categories = categories_of(labels)
        counters = {
            name: by_source(registry.counter, families.PREDICTIONS, category=name) for name in dict.fromkeys(categories)
        }
        self._by_class = [counters[category] for category in categories]

    def record_answer(self, category_scores: Floats, source: str) -> None:
        """Records scores float32[N,C], 0 to 1, which must not change afterwards; ignores rows that are not finite."""
        self._registry.note(self._count, category_scores, source)

    def _count(self, category_scores: Floats, source: str) -> None:
        category_scores = category_scores[np.isfinite(category_scores).all(axis=1)]
        self._photos[source].add(len(category_scores))
        for scores in category_scores:
            best = int(scores.argmax())
            score = float(scores[best])
            self._top1[source].observe(score)
            self._by_class[best][source].add()
            if score < self._abstain_below:
                self._abstained[source].add()


def categories_of(labels: Sequence[str]) -> list[str]:
    """The value of label `category` for each class: at most `MAX_CATEGORIES` retail categories and two more values."""
    named = dict.fromkeys(label.partition(SEPARATOR)[0] for label in labels if SEPARATOR in label)
    known = set(list(named)[: families.MAX_CATEGORIES])
    categories = []
    for label in labels:
        category, separator, _ = label.partition(SEPARATOR)
        if not separator:
            categories.append(families.NO_CATEGORY)
        else:
            categories.append(category if category in known else families.OTHER_CATEGORY)
    return categories


class CacheMetrics:
    """Metrics of the answer cache, in photos."""

    def __init__(self, registry: MetricRegistry) -> None:
        self.hits = registry.counter(families.CACHE_HITS)
        self.misses = registry.counter(families.CACHE_MISSES)
