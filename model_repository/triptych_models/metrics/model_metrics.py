"""Metrics of every model: failed requests, and free shared memory, living processes; of the server: its restarts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

from triptych_models.errors import Code
from triptych_models.metrics.families import ALIVE, INSTANCES, REFUSALS, RESTARTS, SHARED_MEMORY_FREE
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.sources import by_source

# The supervisor says in it how often it has restarted this server.
RESTARTS_VARIABLE = "TRIPTYCH_RESTARTS"


class RefusalMetrics:
    """Failed requests of one model, by error code.

    Args:
        registry: registry of the model.
        codes: the model's own codes, beside `REQUEST_INVALID` and `INTERNAL`.
    """

    def __init__(self, registry: MetricRegistry, codes: Sequence[Code]) -> None:
        known = dict.fromkeys((*codes, Code.REQUEST_INVALID, Code.INTERNAL))
        self._counters = {code: by_source(registry.counter, REFUSALS, code=code.text) for code in known}

    def knows(self, code: Code) -> bool:
        """Whether the model has declared the code."""
        return code in self._counters

    def count(self, code: Code, source: str) -> None:
        self._counters[code][source].add()


def record_shared_memory(registry: MetricRegistry) -> None:
    """Publishes the bytes of /dev/shm that are free to any user."""
    registry.gauge(SHARED_MEMORY_FREE, free_shared_memory)


def free_shared_memory() -> float:
    """The bytes of /dev/shm that are free to any user."""
    status = os.statvfs("/dev/shm")
    return float(status.f_bavail * status.f_frsize)


def record_life(registry: MetricRegistry, instances: int) -> None:
    """Publishes that this process lives, and how many the model should have: a dead process publishes no more."""
    registry.gauge(INSTANCES, lambda: float(instances))
    registry.clock(registry.counter(ALIVE))


def record_restarts(registry: MetricRegistry, server_folder: Path) -> None:
    """Publishes how often the supervisor has restarted the server: by the first instance of the server that loads."""
    counter = registry.counter(RESTARTS)
    with contextlib.suppress(FileExistsError):
        (server_folder / "restarts-counted").touch(exist_ok=False)
        counter.add_now(int(os.environ.get(RESTARTS_VARIABLE, "0")))
