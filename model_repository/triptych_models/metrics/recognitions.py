"""How long a recognition takes from its first step to its last, in an ensemble: one step stamps, another one reads."""

from __future__ import annotations

import time
from typing import Any

from triptych_models.metrics.families import RECOGNITION_DURATION
from triptych_models.metrics.registry import MetricRegistry

# What a caller who names a step by hand sends as `timing` is not believed.
MAX_DURATION_S = 600.0


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
        if timing is None or not len(timing):
            return
        duration_s = time.monotonic() - float(timing[0, 0])
        if 0 <= duration_s <= MAX_DURATION_S:
            self._seconds.observe(duration_s)
