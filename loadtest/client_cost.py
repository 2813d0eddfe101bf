"""What the client costs over tritonclient by hand: throughput of many photos, time of one call, memory."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import psutil
import tritonclient.grpc
import tritonclient.grpc.aio
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.errors import LoadTestError
from triptych import AsyncClient, Client

# Short turns: machines drift within seconds, and only what is measured side by side can be compared.
ROUNDS = 20
TOP_K = 5
# Calls of each way in the comparison of single calls; they alternate.
SINGLE_CALLS = 1000


@dataclass
class Way:
    """One way to send many photos; `run` answers so many of them."""

    name: str
    run: Callable[[list[bytes]], None]
    seconds: list[float] = field(default_factory=list)


def compare_many(
    target: str, photos: Iterator[bytes], *, count: int, concurrency: int, console: Console
) -> dict[str, object]:
    """`count` photos by each way in `ROUNDS` interleaved turns, and how much memory one long iterable takes."""
    share = count // ROUNDS
    with Client(target, timeout_s=60, max_in_flight=concurrency) as client, Progress(console=console) as progress:
        ways = [
            Way("tritonclient.grpc.aio by hand", lambda batch: asyncio.run(_by_hand(target, batch, concurrency))),
            Way("triptych.AsyncClient", lambda batch: asyncio.run(_through_async(target, batch, concurrency))),
            Way("triptych.Client", lambda batch: _through_client(client, batch)),
        ]
        task = progress.add_task("many photos", total=len(ways) * (ROUNDS + 1) * share)
        for turn in range(-1, ROUNDS):  # the first warms up
            for way in (*ways[turn % len(ways) :], *ways[: turn % len(ways)]):  # nobody is always first
                batch = list(itertools.islice(photos, share))
                started = time.perf_counter()
                way.run(batch)
                if turn >= 0:
                    way.seconds.append(time.perf_counter() - started)
                progress.advance(task, share)
        grown_mb = _growth_mb(client, photos, count)
    base = ways[0]
    table = Table(title=f"{count} photos, {concurrency} at once", title_justify="left", box=None)
    for column in ("", "photos/s", "of by hand", "middle half of rounds", "all rounds"):
        table.add_column(column, justify="right" if column else "left")
    report: dict[str, object] = {"photos": count, "concurrency": concurrency, "memory_growth_mb": round(grown_mb, 2)}
    for way in ways:
        ratios = [theirs / mine for mine, theirs in zip(way.seconds, base.seconds, strict=True)]
        rate = share / statistics.median(way.seconds)
        ratio = statistics.median(ratios)
        low, high = np.percentile(ratios, (25, 75))
        spread = f"{low:.2f}-{high:.2f}", f"{min(ratios):.2f}-{max(ratios):.2f}"
        table.add_row(way.name, f"{rate:.1f}", f"{ratio:.3f}", *spread)
        report[way.name] = {
            "photos_per_s": round(rate, 1),
            "ratio": round(ratio, 3),
            "quartiles": [round(low, 3), round(high, 3)],
        }
    console.print(table)
    console.print(f"Resident memory grew by {grown_mb:.2f} MB from photo {count // 4} to {count} of one iterable.\n")
    return report


def compare_single(target: str, photo: bytes, console: Console) -> dict[str, float]:
    """The same photo, answered from the cache, by each way in turn: the differences are the clients' own."""
    raw = tritonclient.grpc.InferenceServerClient(target)
    with Client(target) as client:
        ways: dict[str, Callable[[], object]] = {
            "tritonclient.grpc by hand": lambda: _raw_call(raw, photo),
            "triptych.Client": lambda: client.recognize(photo),
            "tritonclient.grpc by hand, again": lambda: _raw_call(raw, photo),
        }
        times_s: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(SINGLE_CALLS):
            for name, call in ways.items():
                started = time.perf_counter()
                call()
                times_s[name].append(time.perf_counter() - started)
    raw.close()
    p50_ms = {name: statistics.median(values) * 1e3 for name, values in times_s.items()}
    base_ms = p50_ms["tritonclient.grpc by hand"]
    table = Table(title=f"one call, photo in the cache, {SINGLE_CALLS} each", title_justify="left", box=None)
    for column in ("", "p50 ms", "over by hand, ms"):
        table.add_column(column, justify="right" if column else "left")
    for name, value in p50_ms.items():
        table.add_row(name, f"{value:.3f}", f"{value - base_ms:+.3f}")
    console.print(table)
    return {name: round(value, 4) for name, value in p50_ms.items()}


async def _by_hand(target: str, photos: list[bytes], concurrency: int) -> None:
    """What a caller who knows tritonclient well would write: one channel, so many workers on one iterator."""
    async with tritonclient.grpc.aio.InferenceServerClient(target) as channel:
        left = iter(photos)

        async def work() -> None:
            for photo in left:
                _read_raw(await channel.infer("recognizer", _inputs(photo), outputs=_outputs()))

        await asyncio.gather(*(work() for _ in range(concurrency)))


async def _through_async(target: str, photos: list[bytes], concurrency: int) -> None:
    async with AsyncClient(target, timeout_s=60, max_in_flight=concurrency) as client:
        async for item in client.recognize_many(photos):
            item.result()


def _through_client(client: Client, photos: list[bytes]) -> None:
    for item in client.recognize_many(photos):
        item.result()


def _raw_call(channel: tritonclient.grpc.InferenceServerClient, photo: bytes) -> None:
    _read_raw(channel.infer("recognizer", _inputs(photo), outputs=_outputs(), client_timeout=10.0))


def _inputs(photo: bytes) -> list[tritonclient.grpc.InferInput]:
    image = tritonclient.grpc.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[photo]], dtype=object))
    return [image]


def _outputs() -> list[tritonclient.grpc.InferRequestedOutput]:
    return [
        tritonclient.grpc.InferRequestedOutput("category_scores", class_count=TOP_K),
        tritonclient.grpc.InferRequestedOutput("retail_score"),
        tritonclient.grpc.InferRequestedOutput("embedding"),
    ]


def _read_raw(answer: tritonclient.grpc.InferResult) -> None:
    labels = [entry.decode().split(":", 2) for entry in answer.as_numpy("category_scores")[0]]
    if len(labels) != TOP_K or answer.as_numpy("embedding").shape[0] != 1 or answer.as_numpy("retail_score") is None:
        raise LoadTestError("The server's answer is not as expected. Serve the model repository of this checkout.")


def _growth_mb(client: Client, photos: Iterator[bytes], count: int) -> float:
    """Resident memory from a quarter of one long iterable to its end."""
    process = psutil.Process()
    start_bytes = 0
    for item in client.recognize_many(itertools.islice(photos, count)):
        if item.index == count // 4:
            start_bytes = process.memory_info().rss
    return float(process.memory_info().rss - start_bytes) / 1e6
