"""What serving costs: the same photos through servers and without one, in interleaved turns of one run.

Turns are short and take each other's place every round, because machines drift by a third within minutes: only ratios
inside one run, round by round, mean anything.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.driver import Turn

# Of a turn's time, before it: connections are made, caches and branch predictors are warm.
WARM_UP_SHARE = 0.15

TakeTurn = Callable[[float], Turn]


@dataclass
class Contestant:
    """One way to recognise photos, and its turns, one a round."""

    name: str
    take_turn: TakeTurn
    is_ceiling: bool = False
    turns: list[Turn] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Photos a second, median over rounds."""
        return statistics.median(turn.rate for turn in self.turns)

    def latency_ms(self, percentile: float) -> float:
        """Over all calls of all rounds."""
        latencies_s = [latency for turn in self.turns for latency in turn.latencies_s]
        return float(np.percentile(latencies_s, percentile)) * 1e3

    def median_of(self, figure: str) -> float | None:
        """Median over rounds of a `Turn`'s figure, None where it has none."""
        values = [getattr(turn, figure) for turn in self.turns]
        return None if None in values else statistics.median(values)

    def stages_ms(self) -> dict[str, float] | None:
        """Stage of a request -> milliseconds, median over rounds; None where nobody asked Triton."""
        found = [turn.stages_ms for turn in self.turns if turn.stages_ms is not None]
        return {name: round(statistics.median(turn[name] for turn in found), 3) for name in found[0]} if found else None


@dataclass
class Scenario:
    """Contestants that take turns.

    Attributes:
        by_latency: compares median latencies (one caller) instead of rates (many).
    """

    title: str
    contestants: Sequence[Contestant]
    by_latency: bool = False

    def run(self, rounds: int, turn_s: float, progress: Progress, seed: int = 0) -> None:
        """Every contestant in turn, `rounds` times, in an order drawn for each: nobody always follows the same."""
        draw = random.Random(f"{seed} {self.title}")
        task = progress.add_task(self.title, total=rounds * len(self.contestants))
        for _ in range(rounds):
            for contestant in draw.sample(self.contestants, len(self.contestants)):
                contestant.take_turn(turn_s * WARM_UP_SHARE)
                contestant.turns.append(contestant.take_turn(turn_s))
                progress.advance(task)
        progress.remove_task(task)

    @property
    def ceiling(self) -> Contestant:
        """The best configuration without a server."""
        ceilings = [contestant for contestant in self.contestants if contestant.is_ceiling]
        return (
            min(ceilings, key=lambda it: it.latency_ms(50))
            if self.by_latency
            else max(ceilings, key=lambda it: it.rate)
        )

    def ratios(self, contestant: Contestant, base: Contestant) -> list[float]:
        """Round by round: rate over rate, or median latency over median latency."""

        def figure(turn: Turn) -> float:
            return statistics.median(turn.latencies_s) if self.by_latency else turn.rate

        return [figure(mine) / figure(theirs) for mine, theirs in zip(contestant.turns, base.turns, strict=True)]

    def rows(self) -> list[dict[str, object]]:
        """A row of plain figures a contestant."""
        ceiling = self.ceiling
        rows: list[dict[str, object]] = []
        for contestant in self.contestants:
            ratios = self.ratios(contestant, ceiling)
            rows.append(
                {
                    "name": contestant.name,
                    "is_ceiling": contestant.is_ceiling,
                    "photos_per_s": round(contestant.rate, 1),
                    "ratio_to_ceiling": round(statistics.median(ratios), 3),
                    "ratio_min": round(min(ratios), 3),
                    "ratio_max": round(max(ratios), 3),
                    "p50_ms": round(contestant.latency_ms(50), 2),
                    "p99_ms": round(contestant.latency_ms(99), 2),
                    "client_cpu_ms": _rounded(contestant.median_of("client_cpu_ms")),
                    "server_cpu_ms": _rounded(contestant.median_of("server_cpu_ms")),
                    "front_cpu_ms": _rounded(contestant.median_of("front_cpu_ms")),
                    "rates": [round(turn.rate, 1) for turn in contestant.turns],
                    "stages_ms": contestant.stages_ms(),
                }
            )
        return rows

    def show(self, console: Console) -> None:
        """The rows as a table."""
        base = "latency" if self.by_latency else "rate"
        table = Table(title=self.title, title_justify="left", box=None, pad_edge=False)
        for column in (
            "",
            "photos/s",
            f"{base} / best in process",
            "over rounds",
            "p50 ms",
            "p99 ms",
            "CPU ms client",
            "server",
        ):
            table.add_column(column, justify="right" if column else "left", no_wrap=not column)
        for row in self.rows():
            table.add_row(
                str(row["name"]),
                f"{row['photos_per_s']}",
                f"{row['ratio_to_ceiling']:.2f}",
                f"{row['ratio_min']:.2f}-{row['ratio_max']:.2f}",
                f"{row['p50_ms']:.1f}",
                f"{row['p99_ms']:.1f}",
                *("" if row[key] is None else f"{row[key]:.2f}" for key in ("client_cpu_ms", "server_cpu_ms")),
            )
        console.print(table)
        console.print()


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
