"""Requests that get no answer, by code."""

from __future__ import annotations

from collections.abc import Sequence

from triptych_models.errors import Code
from triptych_models.metrics.families import REFUSALS
from triptych_models.metrics.registry import MetricRegistry


class RefusalMetrics:
    """Of one model.

    Args:
        registry: of the model.
        codes: with which the model may refuse, beside those that any may.
    """

    def __init__(self, registry: MetricRegistry, codes: Sequence[Code]) -> None:
        known = dict.fromkeys((*codes, Code.REQUEST_INVALID, Code.INTERNAL))
        self._counters = {code: registry.counter(REFUSALS, code=code.text) for code in known}

    def knows(self, code: Code) -> bool:
        """Whether the model has declared the code."""
        return code in self._counters

    def count(self, code: Code) -> None:
        self._counters[code].add()
