"""The duration of a recognition in an ensemble: the first step records timestamps, the last step reads them."""

from __future__ import annotations

import time
from typing import Any

from triptych_models.metrics.families import RECOGNITION_DURATION
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.sources import by_source

# Columns of tensor `timing` of model `preprocess`.
RECEIVED, DECODED = 0, 1

# Each of three steps waits at most 60 s. A larger value comes from a caller who set `timing`, and is ignored.
MAX_DURATION_S = 180.0


def plausible_duration(timing: Any, column: int, now_s: float) -> float | None:
    """Seconds since a timestamp of the request's first photo; None where it is missing or implausible.

    Args:
        timing: float64[N,2] of the system's monotonic clock, or None.
        column: `RECEIVED` or `DECODED`.
        now_s: current time of the same clock.
    """
    if timing is None or not len(timing):
        return None
    duration_s = now_s - float(timing[0, column])
    return duration_s if 0 <= duration_s <= MAX_DURATION_S else None


class RecognitionMetrics:
    """Records recognitions in the last step of the ensemble.

    Args:
        registry: registry of that step; the series have the label `recognizer`, whichever model records them.
    """

    def __init__(self, registry: MetricRegistry) -> None:
        self._seconds = by_source(registry.histogram, RECOGNITION_DURATION, model="recognizer")

    def record(self, timing: Any, source: str) -> None:
        """Records a request that ends now.

        Args:
            timing: float64[N,2] of `preprocess`; None for a request that did not come from there.
            source: of the request.
        """
        duration_s = plausible_duration(timing, RECEIVED, time.monotonic())
        if duration_s is not None:
            self._seconds[source].observe(duration_s)
