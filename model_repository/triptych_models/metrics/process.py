"""What each model's process records beside its requests."""

from __future__ import annotations

import os

from triptych_models.metrics.families import SHARED_MEMORY_FREE
from triptych_models.metrics.registry import MetricRegistry


def record_shared_memory(registry: MetricRegistry) -> None:
    """Free bytes of /dev/shm, as any user may take them."""

    def read() -> float:
        status = os.statvfs("/dev/shm")
        return float(status.f_bavail * status.f_frsize)

    registry.gauge(SHARED_MEMORY_FREE, read)
