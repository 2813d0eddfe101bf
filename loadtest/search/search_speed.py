"""Recall, latency and memory of search over the size of the catalogue, and the cost of search and upsert by photo.

The server's catalogue must be empty; the embeddings come from `augmented_embeddings`.
"""

from __future__ import annotations

import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psutil
import tritonclient.grpc as triton
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from loadtest.errors import LoadTestError
from loadtest.server.counters import read_metrics
from triptych import CatalogueItem, Client
from triptych_models.catalogue.settings import EXACT_BELOW

Floats = npt.NDArray[np.float32]

K = 10
QUERIES = 500
ROUNDS = 5
BATCH = 256
CONCURRENCY = 4
INDEX_TIMEOUT_S = 3600.0


@dataclass(frozen=True)
class Size:
    """Figures of one size of the catalogue.

    Attributes:
        recall_10: share of the exact 10 nearest photos that the server found.
        p50_ms, p99_ms: of a search, concurrency 1.
        concurrent_per_s: searches per second, concurrency `CONCURRENCY`.
        index_mb: resident memory of the process of the model `index`.
    """

    photos: int
    recall_10: float
    p50_ms: float
    p99_ms: float
    concurrent_per_s: float
    index_mb: float
    upserts_per_s: float


def measure(
    target: str, key: str, metrics_url: str, pid: int, vectors: Floats, sizes: list[int], console: Console
) -> list[Size]:
    """Fills the catalogue up to each size and measures there.

    `vectors` are float32[N,D], L2 norm 1; the last `QUERIES` rows are the queries.

    Raises:
        LoadTestError: the catalogue is not empty, there are too few vectors, or the server builds no HNSW index.
    """
    if len(vectors) < sizes[-1] + QUERIES:
        raise LoadTestError(f"Got {len(vectors)} embeddings, expected {sizes[-1]} and {QUERIES} for queries.")
    queries = np.ascontiguousarray(vectors[sizes[-1] : sizes[-1] + QUERIES])
    measured: list[Size] = []
    channel = triton.InferenceServerClient(target)
    with Client(target, timeout_s=60, catalogue_key=key, source="internal", max_in_flight=CONCURRENCY) as client:
        existing = client.catalogue.count().photos
        if existing:
            raise LoadTestError(f"The catalogue has {existing} photos, expected 0. `triptych run` starts an empty one.")
        filled = 0
        for size in sizes:
            upserts_per_s = _fill(channel, key, vectors, filled, size, console)
            filled = size
            _wait_for_index(metrics_url, size, console)
            measured.append(_measure_size(client, vectors[:size], queries, pid, upserts_per_s))
            _show(measured, console)
    return measured


def _fill(
    channel: triton.InferenceServerClient, key: str, vectors: Floats, start: int, stop: int, console: Console
) -> float:
    """Upserts embeddings over the wire protocol, because the client upserts photos only; returns upserts per second."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"Upserting embeddings, up to {stop}", total=stop - start)
        started_s = time.perf_counter()
        for first in range(start, stop, BATCH):
            rows = range(first, min(first + BATCH, stop))
            items = [{"product_id": f"photo-{row}", "fields": {"tens": row % 10}} for row in rows]
            request = triton.InferInput("request", [1], "BYTES")
            request.set_data_from_numpy(np.array([json.dumps({"call": "upsert", "items": items}).encode()], object))
            embedding = triton.InferInput("embedding", [len(rows), vectors.shape[1]], "FP32")
            embedding.set_data_from_numpy(np.ascontiguousarray(vectors[first : first + len(rows)]))
            channel.infer("catalogue", [request, embedding], parameters={"catalogue_key": key})
            progress.advance(task, len(rows))
    return (stop - start) / (time.perf_counter() - started_s)


def _wait_for_index(metrics_url: str, size: int, console: Console) -> None:
    """Until at most 5 % of the photos are outside of the HNSW index; a small catalogue is searched exactly."""
    deadline_s = time.monotonic() + INDEX_TIMEOUT_S
    with console.status("Waiting for the server's HNSW index"):
        while time.monotonic() < deadline_s:
            samples = {sample.name: sample.value for sample in read_metrics(metrics_url)}
            if samples.get("triptych_catalogue_unindexed_photos", math.inf) <= max(EXACT_BELOW, size / 20):
                return
            time.sleep(2)
    raise LoadTestError(f"No HNSW index of {size} photos after {INDEX_TIMEOUT_S:g} s. The server's log has the cause.")


def _measure_size(client: Client, vectors: Floats, queries: Floats, pid: int, upserts_per_s: float) -> Size:
    times_s, shares = [], []
    for query, nearest in zip(queries, _nearest(vectors, queries), strict=True):
        started_s = time.perf_counter()
        answer = client.search_embedding(query, k=K)
        times_s.append(time.perf_counter() - started_s)
        found = {match.product_id for match in answer.matches}
        shares.append(len(found & {f"photo-{row}" for row in nearest}) / K)
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        all_s = _time(lambda: list(threads.map(lambda query: client.search_embedding(query, k=K), queries)))
    return Size(
        photos=len(vectors),
        recall_10=statistics.mean(shares),
        p50_ms=1000 * statistics.median(times_s),
        p99_ms=1000 * float(np.percentile(times_s, 99)),
        concurrent_per_s=len(queries) / all_s,
        index_mb=_index_mb(pid),
        upserts_per_s=upserts_per_s,
    )


def _nearest(vectors: Floats, queries: Floats) -> list[list[int]]:
    """The exact `K` nearest rows of each query."""
    rows: list[list[int]] = []
    for start in range(0, len(queries), 50):
        scores = queries[start : start + 50] @ vectors.T
        rows += np.argsort(-scores, axis=1)[:, :K].tolist()
    return rows


def _index_mb(pid: int) -> float:
    for child in psutil.Process(pid).children(recursive=True):
        if any("/models/index/1/model.py" in argument for argument in child.cmdline()):
            return float(child.memory_info().rss / 1e6)
    raise LoadTestError(f"Process {pid} has no model `index`. Pass the process id of tritonserver with --pid.")


def compare_photos(target: str, key: str, photos: Iterator[bytes], count: int, console: Console) -> dict[str, float]:
    """Search by photo against recognize, and upsert by photo against embed, in interleaved turns."""
    with Client(target, timeout_s=60, catalogue_key=key, source="internal", max_in_flight=8) as client:
        pairs_s = [
            _time_pair(turn, lambda: client.recognize(next(photos)), lambda: client.search(next(photos)))
            for turn in range(count)
        ]
        ratios = [_compare_upserts(client, photos, count // ROUNDS, turn) for turn in range(ROUNDS)]
    recognize_ms, search_ms = (1000 * statistics.median(times_s) for times_s in zip(*pairs_s, strict=True))
    report = {
        "recognize_ms": recognize_ms,
        "search_ms": search_ms,
        "search_over_recognize": search_ms / recognize_ms,
        "upsert_over_embed": statistics.median(ratios),
        "upsert_over_embed_low": min(ratios),
        "upsert_over_embed_high": max(ratios),
    }
    console.print(
        f"Concurrency 1: search by photo {search_ms:.1f} ms, recognize {recognize_ms:.1f} ms, ratio "
        f"{search_ms / recognize_ms:.2f}. Upsert by photo over embed, ratio of photos/s: "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})."
    )
    return report


def _compare_upserts(client: Client, photos: Iterator[bytes], count: int, turn: int) -> float:
    """Photos per second of upsert over those of embed. Deletes the upserted photos."""
    embedded, upserted = (list(itertools.islice(photos, count)) for _ in range(2))
    items = [CatalogueItem(f"new-{turn}-{place}", photo) for place, photo in enumerate(upserted)]
    embed_s, upsert_s = _time_pair(
        turn,
        lambda: [item.result() for item in client.embed_many(embedded)],
        lambda: client.catalogue.upsert_many(items),
    )
    client.catalogue.delete([item.product_id for item in items])
    return embed_s / upsert_s


def _time_pair(turn: int, one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    """Seconds of two calls, in an order that alternates between turns."""
    if turn % 2:
        later_s = _time(other)
        return _time(one), later_s
    return _time(one), _time(other)


def _time(call: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    call()
    return time.perf_counter() - started_s


def _show(measured: list[Size], console: Console) -> None:
    table = Table(box=None)
    for column in ("photos", "recall@10", "p50 ms", "p99 ms", f"concurrency {CONCURRENCY}, /s", "MB", "upserts/s"):
        table.add_column(column, justify="right")
    for size in measured:
        table.add_row(
            f"{size.photos:,}", f"{size.recall_10:.3f}", f"{size.p50_ms:.1f}", f"{size.p99_ms:.1f}",
            f"{size.concurrent_per_s:.0f}", f"{size.index_mb:.0f}", f"{size.upserts_per_s:.0f}",
        )  # fmt: skip
    console.print(table)
