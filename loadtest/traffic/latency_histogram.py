"""Latency histograms by second and kind of call, with counts of failures; histograms of several processes add up.

Locust's own statistics round latencies to two digits: 247 ms becomes 250 ms, too coarse for a bound of 250 ms.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# Upper edge over lower edge of a bucket: percentiles are exact within 0.5 %.
BUCKET_RATIO = 1.01


@dataclass
class CallCounts:
    """Calls of one kind in one second, or a sum of such.

    Attributes:
        latencies: bucket -> answered calls.
        within: answered calls below the latency bound of the objective, exact.
        failures: reason -> calls.
    """

    latencies: Counter[int] = field(default_factory=Counter)
    within: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    @property
    def answered(self) -> int:
        return self.latencies.total()

    @property
    def failed(self) -> int:
        return self.failures.total()

    @property
    def calls(self) -> int:
        return self.answered + self.failed

    def add(self, other: CallCounts) -> None:
        """Adds the calls of another."""
        self.latencies.update(other.latencies)
        self.within += other.within
        self.failures.update(other.failures)

    def percentile_ms(self, percent: float) -> float | None:
        """Of the answered calls; None without any."""
        wanted, seen = math.ceil(self.answered * percent / 100), 0
        for bucket in sorted(self.latencies):
            seen += self.latencies[bucket]
            if seen >= max(wanted, 1):
                return float(BUCKET_RATIO ** (bucket + 0.5))
        return None

    def percentiles_ms(self) -> dict[str, float | None]:
        """`p50_ms` and `p99_ms` with one decimal, for reports."""
        found = {f"p{percent}_ms": self.percentile_ms(percent) for percent in (50, 99)}
        return {name: None if value is None else round(value, 1) for name, value in found.items()}


class LatencyHistogram:
    """Counts by second and kind of call.

    Args:
        under_s: latency bound of the objective.
    """

    def __init__(self, under_s: float) -> None:
        self._under_s = under_s
        self.seconds: dict[int, dict[str, CallCounts]] = {}

    def answered(self, at_s: float, kind: str, latency_s: float) -> None:
        """Counts an answer received at the time of day `at_s`."""
        counts = self._counts(at_s, kind)
        counts.latencies[math.floor(math.log(max(latency_s * 1e3, 1e-3), BUCKET_RATIO))] += 1
        counts.within += latency_s < self._under_s

    def failed(self, at_s: float, kind: str, reason: str) -> None:
        """Counts a call with a wrong result."""
        self._counts(at_s, kind).failures[reason] += 1

    def total(
        self, kinds: Iterable[str] | None = None, from_s: float = -math.inf, until_s: float = math.inf
    ) -> CallCounts:
        """The sum over some kinds (None: all) and the whole seconds from `from_s` to before `until_s`."""
        wanted, total = None if kinds is None else set(kinds), CallCounts()
        for second, by_kind in self.seconds.items():
            if from_s <= second < until_s:
                for kind, counts in by_kind.items():
                    if wanted is None or kind in wanted:
                        total.add(counts)
        return total

    def kinds(self) -> list[str]:
        """All kinds of call that were counted."""
        return sorted({kind for by_kind in self.seconds.values() for kind in by_kind})

    def take_json(self) -> dict[str, Any]:
        """The argument of another histogram's `add_json`; clears the counts."""
        taken, self.seconds = self.seconds, {}
        return {
            str(second): {
                kind: {
                    "latencies": {str(bucket): count for bucket, count in sorted(counts.latencies.items())},
                    "within": counts.within,
                    "failures": dict(counts.failures),
                }
                for kind, counts in by_kind.items()
            }
            for second, by_kind in sorted(taken.items())
        }

    def add_json(self, content: dict[str, Any]) -> None:
        """Adds the calls of another process."""
        for second, by_kind in content.items():
            for kind, counts in by_kind.items():
                latencies = Counter({int(bucket): count for bucket, count in counts["latencies"].items()})
                added = CallCounts(latencies, counts["within"], Counter(counts["failures"]))
                self._counts(float(second), kind).add(added)

    def _counts(self, at_s: float, kind: str) -> CallCounts:
        return self.seconds.setdefault(int(at_s), {}).setdefault(kind, CallCounts())
