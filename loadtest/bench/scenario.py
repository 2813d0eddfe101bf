"""Paired comparison: variants are measured in interleaved turns, and ratios are taken within a round.

The speed of a machine drifts by a third within minutes, so that only ratios within one round are comparable.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.bench.closed_loop import Measure, Measurement

# Names and sizes of the scenarios that `scenarios` makes; the command line lists them before it imports a server.
USUAL_PX = (640, 480)
CONCURRENCIES = (1, 4, 16, 32)
BATCH_SIZE = 8
SWEEP_SIZES = (1, 2, 4, 8, 16, 32)
SIZES_PX = {"400px": (400, 300), "12mp": (4000, 3000)}
SCENARIOS = (*(f"c{count}" for count in CONCURRENCIES), "batch", *SIZES_PX, "hot", "front", "front-hot", "sweep")
# Share of the measured time that is spent before it, so that connections are open and caches are warm.
WARM_UP_SHARE = 0.15
_COLUMNS = ("over rounds", "p50 ms", "p99 ms", "CPU ms client", "server")


@dataclass
class Variant:
    """One way to recognize photos, and its measurements, one per round.

    Attributes:
        measure: seconds -> a measurement.
        is_in_process: whether the variant is an in-process baseline.
    """

    name: str
    measure: Measure
    is_in_process: bool = False
    measurements: list[Measurement] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Photos per second, median over rounds."""
        return statistics.median(measurement.rate for measurement in self.measurements)

    def latency_ms(self, percentile: float) -> float:
        """Over all calls of all rounds."""
        latencies_s = [latency for measurement in self.measurements for latency in measurement.latencies_s]
        return float(np.percentile(latencies_s, percentile)) * 1e3

    def median_of(self, figure: str) -> float | None:
        """Median over rounds of an attribute of `Measurement`; None where it was not measured."""
        values = [getattr(measurement, figure) for measurement in self.measurements]
        return None if None in values else round(statistics.median(values), 3)

    def stages_ms(self) -> dict[str, float] | None:
        """Stage of a request -> milliseconds, median over rounds; None where stages were not read."""
        found = [measurement.stages_ms for measurement in self.measurements if measurement.stages_ms is not None]
        return {name: round(statistics.median(each[name] for each in found), 3) for name in found[0]} if found else None


@dataclass
class Scenario:
    """Variants under one load.

    Attributes:
        by_latency: ratios are of median latencies (concurrency 1) instead of rates.
    """

    title: str
    variants: Sequence[Variant]
    by_latency: bool = False

    def run(self, rounds: int, turn_s: float, progress: Progress, seed: int = 0) -> None:
        """Measures every variant `rounds` times, in an order drawn for each round."""
        draw = random.Random(f"{seed} {self.title}")
        task = progress.add_task(self.title, total=rounds * len(self.variants))
        for _ in range(rounds):
            for variant in draw.sample(self.variants, len(self.variants)):
                variant.measure(turn_s * WARM_UP_SHARE)
                variant.measurements.append(variant.measure(turn_s))
                progress.advance(task)
        progress.remove_task(task)

    @property
    def best_in_process(self) -> Variant:
        """The fastest in-process baseline."""
        baselines = [variant for variant in self.variants if variant.is_in_process]
        if self.by_latency:
            return min(baselines, key=lambda variant: variant.latency_ms(50))
        return max(baselines, key=lambda variant: variant.rate)

    def ratios(self, variant: Variant, base: Variant) -> list[float]:
        """Per round: rate over rate, or median latency over median latency."""

        def figure(measurement: Measurement) -> float:
            return statistics.median(measurement.latencies_s) if self.by_latency else measurement.rate

        pairs = zip(variant.measurements, base.measurements, strict=True)
        return [figure(mine) / figure(theirs) for mine, theirs in pairs]

    def rows(self) -> list[dict[str, Any]]:
        """One row of plain figures per variant."""
        base = self.best_in_process
        return [self._row(variant, self.ratios(variant, base)) for variant in self.variants]

    def _row(self, variant: Variant, ratios: list[float]) -> dict[str, Any]:
        return {
            "name": variant.name,
            "is_in_process": variant.is_in_process,
            "photos_per_s": round(variant.rate, 1),
            "ratio_to_in_process": round(statistics.median(ratios), 3),
            "ratio_min": round(min(ratios), 3),
            "ratio_max": round(max(ratios), 3),
            "p50_ms": round(variant.latency_ms(50), 2),
            "p99_ms": round(variant.latency_ms(99), 2),
            **{name: variant.median_of(name) for name in ("client_cpu_ms", "server_cpu_ms")},
            "rates": [round(measurement.rate, 1) for measurement in variant.measurements],
            "stages_ms": variant.stages_ms(),
        }

    def show(self, console: Console) -> None:
        ratio = f"{'latency' if self.by_latency else 'rate'} / best in process"
        table = Table(title=self.title, title_justify="left", box=None, pad_edge=False)
        for column in ("", "photos/s", ratio, *_COLUMNS):
            table.add_column(column, justify="right" if column else "left", no_wrap=not column)
        for row in self.rows():
            table.add_row(
                row["name"],
                f"{row['photos_per_s']}",
                f"{row['ratio_to_in_process']:.2f}",
                f"{row['ratio_min']:.2f}-{row['ratio_max']:.2f}",
                f"{row['p50_ms']:.1f}",
                f"{row['p99_ms']:.1f}",
                *("" if row[key] is None else f"{row[key]:.2f}" for key in ("client_cpu_ms", "server_cpu_ms")),
            )
        console.print(table)
        console.print()
