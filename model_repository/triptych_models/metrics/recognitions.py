"""How long a recognition takes from its first step to its last, in an ensemble: one step stamps, another one reads."""

from __future__ import annotations

import time
from typing import Any

from triptych_models.metrics.families import RECOGNITION_DURATION
from triptych_models.metrics.registry import MetricRegistry

# Columns of `timing`, as `preprocess` makes it.
RECEIVED, DECODED = 0, 1

# Each of three steps waits 60 s at most. What a caller who names a step by hand sends as `timing` is not believed.
MAX_DURATION_S = 180.0


def plausible_duration(timing: Any, column: int, now_s: float) -> float | None:
    """Seconds from a stamp of a request's first photo until now; None where there is none, or none to believe.

    Args:
        timing: float64[N,2] of the system's monotonic clock, or None.
        column: `RECEIVED` or `DECODED`.
        now_s: of the same clock.
    """
    if timing is None or not len(timing):
        return None
    duration_s = now_s - float(timing[0, column])
    return duration_s if 0 <= duration_s <= MAX_DURATION_S else None


class RecognitionMetrics:
    """Of the step that is the last of the ensemble.

    Args:
        registry: of that step; the series are those of `recognizer`, whichever model records them.
    """

    def __init__(self, registry: MetricRegistry) -> None:
        self._seconds = registry.histogram(RECOGNITION_DURATION, model="recognizer")

    def record(self, timing: Any) -> None:
        """A request that ends now.

        Args:
            timing: float64[N,2] as `preprocess` made it; None for a request that did not come from there.
        """
        duration_s = plausible_duration(timing, RECEIVED, time.monotonic())
        if duration_s is not None:
            self._seconds.observe(duration_s)
