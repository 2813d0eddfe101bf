"""Metrics of every model: failed requests, and free shared memory."""

from __future__ import annotations

import os
from collections.abc import Sequence

from triptych_models.errors import Code
from triptych_models.metrics.families import REFUSALS, SHARED_MEMORY_FREE
from triptych_models.metrics.registry import MetricRegistry


class RefusalMetrics:
    """Failed requests of one model, by error code.

    Args:
        registry: registry of the model.
        codes: the model's own codes, beside `REQUEST_INVALID` and `INTERNAL`.
    """

    def __init__(self, registry: MetricRegistry, codes: Sequence[Code]) -> None:
        known = dict.fromkeys((*codes, Code.REQUEST_INVALID, Code.INTERNAL))
        self._counters = {code: registry.counter(REFUSALS, code=code.text) for code in known}

    def knows(self, code: Code) -> bool:
        """Whether the model has declared the code."""
        return code in self._counters

    def count(self, code: Code) -> None:
        self._counters[code].add()


def record_shared_memory(registry: MetricRegistry) -> None:
    """Publishes the bytes of /dev/shm that are free to any user."""

    def read() -> float:
        status = os.statvfs("/dev/shm")
        return float(status.f_bavail * status.f_frsize)

    registry.gauge(SHARED_MEMORY_FREE, read)
