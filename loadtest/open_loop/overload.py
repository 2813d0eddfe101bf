"""Priorities and overload: interactive requests beside a bulk job, and 10 times the capacity.

Results are ratios within one run, so that they do not depend on the speed of the machine. The generator runs on the
same machine; its CPU time is part of the result, because the server does not have that time.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Event
from typing import Any

from rich.console import Console

from loadtest.open_loop.stream import EncodedRequests, StreamResult, fetch_references, run_closed_loop, run_open_loop
from loadtest.server.process import peak_memory
from loadtest.traffic.corpus import unique_photos
from triptych import Client

# Keeps the server busy without a full queue.
CONCURRENCY = 16
# Interactive load, as a share of the capacity.
INTERACTIVE_SHARE = 0.3
OVERLOAD = 10.0
# Longer than a slow machine needs for a full queue.
TIMEOUT_S = 30.0
BULK_IN_FLIGHT = 32
# For the bulk job to start, and for a queue to fill.
SETTLE_S = 2.0

MAX_P99_RATIO = 2.0
MIN_GOODPUT_SHARE = 0.8
# The queue holds 1.4 s of work; twice that, because the generator uses part of the CPU.
MAX_LATENCY_S = 3.0
# A full queue of the largest accepted photos (20 MB) would be 2.6 GB; 128 of these photos are 12 MB.
MAX_GROWTH_MB = 300.0


@dataclass(frozen=True)
class OverloadResult:
    """Results of one run.

    Attributes:
        capacity: photos per second at concurrency 16.
        alone_ms, beside_bulk_ms: p50 and p99 of the interactive requests without and with the bulk job.
        bulk_rate: photos per second of the bulk job.
        offered, goodput: requests and answers per second under overload.
        overload_ms: p50 and p99 of the answers under overload.
        errors: error -> requests under overload.
        growth_mb: growth of the server's resident memory under overload.
        generator_cores: CPU cores that the generator used under overload.
        wrong_answers: in all phases.
    """

    capacity: float
    alone_ms: tuple[float, float]
    beside_bulk_ms: tuple[float, float]
    bulk_rate: float
    offered: float
    goodput: float
    overload_ms: tuple[float, float]
    errors: dict[str, int]
    growth_mb: float
    generator_cores: float
    wrong_answers: int

    @property
    def p99_ratio(self) -> float:
        """p99 of the interactive requests beside the bulk job, over p99 without it."""
        return self.beside_bulk_ms[1] / self.alone_ms[1]

    @property
    def goodput_share(self) -> float:
        """Share of the capacity that is answered under overload."""
        return self.goodput / self.capacity

    def failures(self) -> list[str]:
        """A sentence about each bound that was missed."""
        checks = {
            f"a bulk job raised the p99 of interactive requests {self.p99_ratio:.2f}x, expected at most "
            f"{MAX_P99_RATIO:g}x": self.p99_ratio > MAX_P99_RATIO,
            f"under overload {self.goodput_share:.0%} of the capacity was answered, expected at least "
            f"{MIN_GOODPUT_SHARE:.0%}": self.goodput_share < MIN_GOODPUT_SHARE,
            f"under overload the p99 was {self.overload_ms[1] / 1e3:.1f} s, expected at most {MAX_LATENCY_S:g} s": (
                self.overload_ms[1] > MAX_LATENCY_S * 1e3
            ),
            f"under overload the server grew by {self.growth_mb:.0f} MB, expected at most {MAX_GROWTH_MB:g}": (
                self.growth_mb > MAX_GROWTH_MB
            ),
            f"{self.wrong_answers} answers were wrong": self.wrong_answers > 0,
        }
        return [sentence for sentence, is_missed in checks.items() if is_missed]

    def as_json(self) -> dict[str, Any]:
        own = {"p99_ratio": self.p99_ratio, "goodput_share": self.goodput_share, "failures": self.failures()}
        return {**asdict(self), **own}


def measure(target: str, pid: int, photos: Sequence[bytes], phase_s: float, console: Console) -> OverloadResult:
    """Runs four phases of `phase_s` and prints the result of each."""
    requests = EncodedRequests(photos)
    references = fetch_references(target, requests)

    def send(rate: float) -> StreamResult:
        return run_open_loop(target, requests, references, rate=rate, duration_s=phase_s, timeout_s=TIMEOUT_S)

    full = run_closed_loop(target, requests, references, concurrency=CONCURRENCY, duration_s=phase_s)
    console.print(f"Capacity: {full.rate:.0f} photos/s at concurrency {CONCURRENCY}, {_format(full)}")
    rate = INTERACTIVE_SHARE * full.rate
    alone = send(rate)
    console.print(f"Interactive, {rate:.0f} photos/s, alone: {_format(alone)}")
    with _bulk_job(target, photos) as answered:
        time.sleep(SETTLE_S)
        before, before_s = answered.value, time.monotonic()
        beside = send(rate)
        bulk_rate = (answered.value - before) / (time.monotonic() - before_s)
    console.print(f"Interactive beside a bulk job of {bulk_rate:.0f} photos/s: {_format(beside)}")
    with peak_memory(pid) as growth_mb:
        cpu_s, wall_s = time.process_time(), time.monotonic()
        over = send(OVERLOAD * full.rate)
        cores = (time.process_time() - cpu_s) / (time.monotonic() - wall_s)
    offered = over.sent / over.duration_s
    console.print(f"{OVERLOAD:g}x overload, {offered:.0f} photos/s: {over.rate:.0f} answered per s, {_format(over)}")
    return OverloadResult(
        capacity=full.rate,
        alone_ms=_percentiles(alone),
        beside_bulk_ms=_percentiles(beside),
        bulk_rate=bulk_rate,
        offered=offered,
        goodput=over.rate,
        overload_ms=_percentiles(over),
        errors=dict(over.errors),
        growth_mb=growth_mb[0],
        generator_cores=cores,
        wrong_answers=sum(result.wrong_answers for result in (full, alone, beside, over)),
    )


@contextmanager
def _bulk_job(target: str, photos: Sequence[bytes]) -> Iterator[Synchronized[int]]:
    """Embeds photos as `triptych embed` does, in its own process; yields the number of answers."""
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
    with Client(target, priority="bulk", source="internal", timeout_s=60, max_in_flight=BULK_IN_FLIGHT) as client:
        for item in client.embed_many(unique_photos(photos), ordered=False):
            answered.value += item.error is None
            if is_over.is_set():
                break


def _percentiles(result: StreamResult) -> tuple[float, float]:
    return result.latency_ms(50), result.latency_ms(99)


def _format(result: StreamResult) -> str:
    errors = f", {sum(result.errors.values())} of {result.sent} failed" if result.errors else ""
    return f"p50 {result.latency_ms(50):.0f} ms, p99 {result.latency_ms(99):.0f} ms{errors}"
