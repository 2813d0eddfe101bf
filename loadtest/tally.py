"""What was called, how it ended and how long it took: by second, so that phases of a run can be told apart.

Adds up over processes. Locust's own statistics round latencies to two digits, 247 ms to 250, too coarse beside a bound
of 250 ms. No Locust in here.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

# Upper edge over lower edge of a bucket: percentiles are within half a percent.
BUCKET_RATIO = 1.01


@dataclass
class Cell:
    """Calls of one kind in one second, or in many.

    Attributes:
        latencies: bucket -> answered calls.
        within: answered calls below the objective's bound, exactly.
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

    def add(self, other: Cell) -> None:
        """Adds the calls of another."""
        self.latencies.update(other.latencies)
        self.within += other.within
        self.failures.update(other.failures)

    def percentile_ms(self, percent: float) -> float | None:
        """Of the answered calls; None where there are none."""
        wanted, seen = math.ceil(self.answered * percent / 100), 0
        for bucket in sorted(self.latencies):
            seen += self.latencies[bucket]
            if seen >= max(wanted, 1):
                return float(BUCKET_RATIO ** (bucket + 0.5))
        return None


class Tally:
    """Cells by second and kind.

    Args:
        under_s: the objective's bound on an answer.
    """

    def __init__(self, under_s: float) -> None:
        self._under_s = under_s
        self.seconds: dict[int, dict[str, Cell]] = {}

    def answered(self, at_s: float, kind: str, latency_s: float) -> None:
        """Counts an answer that came at `at_s`, a time of day."""
        cell = self._cell(at_s, kind)
        cell.latencies[math.floor(math.log(max(latency_s * 1e3, 1e-3), BUCKET_RATIO))] += 1
        cell.within += latency_s < self._under_s

    def failed(self, at_s: float, kind: str, reason: str) -> None:
        """Counts a call that ended in something else than what it should."""
        self._cell(at_s, kind).failures[reason] += 1

    def total(self, kinds: Iterable[str] | None = None, from_s: float = -math.inf, until_s: float = math.inf) -> Cell:
        """The calls of some kinds (None: all) in whole seconds from `from_s` until before `until_s`."""
        wanted, total = None if kinds is None else set(kinds), Cell()
        for second, cells in self.seconds.items():
            if from_s <= second < until_s:
                for kind, cell in cells.items():
                    if wanted is None or kind in wanted:
                        total.add(cell)
        return total

    def kinds(self) -> list[str]:
        """Every kind that was called."""
        return sorted({kind for cells in self.seconds.values() for kind in cells})

    def as_json(self) -> dict[str, Any]:
        """What `add_json` takes."""
        return {
            str(second): {
                kind: {
                    "latencies": {str(bucket): count for bucket, count in sorted(cell.latencies.items())},
                    "within": cell.within,
                    "failures": dict(cell.failures),
                }
                for kind, cell in cells.items()
            }
            for second, cells in sorted(self.seconds.items())
        }

    def add_json(self, content: dict[str, Any]) -> None:
        """Adds the calls of another process."""
        for second, cells in content.items():
            for kind, cell in cells.items():
                latencies = Counter({int(bucket): count for bucket, count in cell["latencies"].items()})
                self._cell(float(second), kind).add(Cell(latencies, cell["within"], Counter(cell["failures"])))

    def take_json(self) -> dict[str, Any]:
        """`as_json`, and starts again from nothing: what a worker tells its master each time."""
        taken, self.seconds = self.as_json(), {}
        return taken

    def _cell(self, at_s: float, kind: str) -> Cell:
        return self.seconds.setdefault(int(at_s), {}).setdefault(kind, Cell())
