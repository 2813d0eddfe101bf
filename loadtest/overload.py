"""What callers see when there is too much: shoppers beside a bulk job, and ten times what the server can answer.

Figures are ratios within one run, so that a slow machine does not decide. The load comes from this machine, too: its
share of the processors is told, because the server does not have it.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Any

import psutil
from rich.console import Console

from loadtest.open_loop import Questions, Seen, ask_golden, run_closed, run_stream
from loadtest.photos import never_alike
from triptych import Client

# Callers that keep the server busy and no queue full.
CALLERS = 16
# Of the capacity: shoppers as they are most of the day.
INTERACTIVE_SHARE = 0.3
OVERLOAD = 10.0
# Longer than a full queue of a slow machine takes.
PATIENCE_S = 30.0
BULK_IN_FLIGHT = 32
# For the bulk job to begin, and for a queue to fill.
SETTLE_S = 2.0
# Between two looks at the server's memory.
SAMPLE_S = 0.25

FAIRNESS_BAR = 2.0
GOODPUT_BAR = 0.8
# The queue holds 1.4 s of work; twice that where the callers take a part of the processors.
LATENCY_BAR_S = 3.0
# A full queue of the largest photos taken (20 MB) would be 2.6 GB; of these, 128 are 12 MB.
MEMORY_BAR_MB = 300.0


@dataclass(frozen=True)
class Verdict:
    """One run.

    Attributes:
        capacity: photos a second of 16 callers.
        alone_ms, beside_ms: 50th and 99th percentile of the interactive, without and with the bulk job.
        bulk_rate: photos a second of the bulk job meanwhile.
        offered, goodput: requests and answers a second under overload.
        overload_ms: 50th and 99th percentile of the answers then.
        refused: what the others were told -> how many.
        refused_ms: 99th percentile of the refusals.
        grown_mb: the server's resident memory at its highest then, over that before.
        driver_cores: what sending all that took, of this machine's cores.
        wrong: answers that were not the photo's, in all phases.
    """

    capacity: float
    alone_ms: tuple[float, float]
    beside_ms: tuple[float, float]
    bulk_rate: float
    offered: float
    goodput: float
    overload_ms: tuple[float, float]
    refused: dict[str, int]
    refused_ms: float
    grown_mb: float
    driver_cores: float
    wrong: int

    @property
    def fairness(self) -> float:
        """How much a bulk job raises the 99th percentile of the interactive."""
        return self.beside_ms[1] / self.alone_ms[1]

    @property
    def kept(self) -> float:
        """Share of the capacity that is answered under overload."""
        return self.goodput / self.capacity

    def failures(self) -> list[str]:
        """Sentences about each bar that was missed."""
        checks = {
            f"a bulk job raised the p99 of the interactive {self.fairness:.2f}x, more than {FAIRNESS_BAR:g}x": (
                self.fairness > FAIRNESS_BAR
            ),
            f"under overload {self.kept:.0%} of the capacity was answered, less than {GOODPUT_BAR:.0%}": (
                self.kept < GOODPUT_BAR
            ),
            f"under overload the p99 was {self.overload_ms[1] / 1e3:.1f} s, more than {LATENCY_BAR_S:g} s": (
                self.overload_ms[1] > LATENCY_BAR_S * 1e3
            ),
            f"under overload the server grew by {self.grown_mb:.0f} MB, more than {MEMORY_BAR_MB:g}": (
                self.grown_mb > MEMORY_BAR_MB
            ),
            f"{self.wrong} answers were not the photo's": self.wrong > 0,
        }
        return [sentence for sentence, is_missed in checks.items() if is_missed]

    def report(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "fairness": self.fairness, "kept": self.kept, "failures": self.failures()}


def measure(target: str, pid: int, photos: Sequence[bytes], turn_s: float, console: Console) -> Verdict:
    """Four phases of `turn_s`, told as they end."""
    interactive = Questions(photos, {})
    golden = ask_golden(target, interactive)
    full = run_closed(target, interactive, golden, callers=CALLERS, duration_s=turn_s)
    console.print(f"capacity: {full.rate:.0f} photos/s, {CALLERS} callers, {_shown(full)}")
    rate = INTERACTIVE_SHARE * full.rate
    alone = run_stream(target, interactive, golden, rate=rate, duration_s=turn_s, patience_s=PATIENCE_S)
    console.print(f"interactive, {rate:.0f} a second, alone: {_shown(alone)}")
    with bulk_job(target, photos) as answered:
        time.sleep(SETTLE_S)
        before, before_s = answered.value, time.monotonic()
        beside = run_stream(target, interactive, golden, rate=rate, duration_s=turn_s, patience_s=PATIENCE_S)
        bulk_rate = (answered.value - before) / (time.monotonic() - before_s)
    console.print(f"the same beside a bulk job, which got {bulk_rate:.0f} photos/s: {_shown(beside)}")
    with peak_memory(pid) as grown_mb:
        cpu_s, wall_s = time.process_time(), time.monotonic()
        flood = run_stream(
            target, interactive, golden, rate=OVERLOAD * full.rate, duration_s=turn_s, patience_s=PATIENCE_S
        )
        driver_cores = (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
    offered = flood.due / flood.lasted_s
    console.print(
        f"{OVERLOAD:g}x overload, {offered:.0f} a second: {flood.rate:.0f} photos/s answered, {_shown(flood)}"
    )
    return Verdict(
        capacity=full.rate,
        alone_ms=_percentiles(alone),
        beside_ms=_percentiles(beside),
        bulk_rate=bulk_rate,
        offered=offered,
        goodput=flood.rate,
        overload_ms=_percentiles(flood),
        refused=dict(flood.refused),
        refused_ms=flood.refused_ms(99),
        grown_mb=grown_mb[0],
        driver_cores=driver_cores,
        wrong=sum(seen.wrong for seen in (full, alone, beside, flood)),
    )


@contextmanager
def bulk_job(target: str, photos: Sequence[bytes]) -> Iterator[Synchronized[int]]:
    """The client embeds photos as `triptych embed` does, in a process of its own; yields how many were answered."""
    context = multiprocessing.get_context("spawn")
    answered, is_over = context.Value("L", 0), context.Event()
    process = context.Process(target=_embed, args=(target, list(photos), answered, is_over))
    process.start()
    try:
        yield answered
    finally:
        is_over.set()
        process.join()


def _embed(target: str, photos: list[bytes], answered: Synchronized[int], is_over: Event) -> None:
    with Client(target, priority="bulk", timeout_s=60, max_in_flight=BULK_IN_FLIGHT) as client:
        for item in client.embed_many(never_alike(photos), ordered=False):
            answered.value += item.error is None
            if is_over.is_set():
                break


@contextmanager
def peak_memory(pid: int) -> Iterator[list[float]]:
    """Yields a list that holds, once left, by how many MB the resident memory of a server and its children rose."""
    stop, peak = multiprocessing.get_context("spawn").Event(), multiprocessing.get_context("spawn").Value("d", 0.0)
    before = resident_mb(pid)
    sampler = multiprocessing.get_context("spawn").Process(target=_sample, args=(pid, stop, peak))
    sampler.start()
    grown = [0.0]
    try:
        yield grown
    finally:
        stop.set()
        sampler.join()
        grown[0] = max(peak.value, resident_mb(pid)) - before


def _sample(pid: int, stop: Event, peak: Synchronized[float]) -> None:
    os.nice(5)
    while not stop.wait(SAMPLE_S):
        peak.value = max(peak.value, resident_mb(pid))


def resident_mb(pid: int) -> float:
    """Of a server and its children; shared pages count in each."""
    server = psutil.Process(pid)
    return sum(process.memory_info().rss for process in [server, *server.children(recursive=True)]) / 1e6


def _percentiles(seen: Seen) -> tuple[float, float]:
    return seen.took_ms(50), seen.took_ms(99)


def _shown(seen: Seen) -> str:
    refused = f", {sum(seen.refused.values())} of {seen.due} refused" if seen.refused else ""
    return f"p50 {seen.took_ms(50):.0f} ms, p99 {seen.took_ms(99):.0f} ms{refused}"
