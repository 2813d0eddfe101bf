"""Search through the server against the same library in this process, over the size of the catalogue.

The server's catalogue must be empty; the embeddings come from `augmented_embeddings`.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import numpy.typing as npt
import psutil
import tritonclient.grpc as triton
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from usearch.index import Index

from loadtest.errors import LoadTestError
from triptych import CatalogueItem, Client
from triptych_models.catalogue.settings import EXACT_BELOW
from triptych_models.search.vector_index import EXPANSION_SEARCH, new_graph

Floats = npt.NDArray[np.float32]

K = 10
QUERIES = 500
ROUNDS = 5
BATCH = 256
CONCURRENCY = 4
INDEX_TIMEOUT_S = 3600.0
_COLUMNS = (
    "photos", "recall@10", "p50 ms", "p99 ms", f"concurrency {CONCURRENCY}, /s", "in process ms", "in process recall",
    "ratio", "MB", "upserts/s",
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """Figures of one size of the catalogue.

    Attributes:
        recall_10: share of the exact 10 nearest photos that the server found.
        p50_ms, p99_ms: of a search through the server, concurrency 1.
        concurrent_per_s: searches per second through the server, concurrency `CONCURRENCY`.
        in_process_ms: median of the same library's HNSW index and the same exact scoring, in this process.
        ratio: in-process time over the server's time; 1 means that the server adds no cost.
        index_mb: resident memory of the process of the model `index`.
    """

    photos: int
    recall_10: float
    p50_ms: float
    p99_ms: float
    concurrent_per_s: float
    in_process_ms: float
    in_process_recall_10: float
    ratio: float
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
    graph = new_graph(vectors.shape[1])
    channel = triton.InferenceServerClient(target)
    with Client(target, timeout_s=60, catalogue_key=key, max_in_flight=CONCURRENCY) as client:
        existing = client.catalogue.count().photos
        if existing:
            raise LoadTestError(f"The catalogue has {existing} photos, expected 0. `triptych run` starts an empty one.")
        filled = 0
        for size in sizes:
            upserts_per_s = _fill(channel, key, vectors, filled, size, console)
            with console.status(f"Adding photos to the HNSW index in this process, up to {size}"):
                for start in range(filled, size, 4096):
                    stop = min(start + 4096, size)
                    graph.add(np.arange(start, stop), np.ascontiguousarray(vectors[start:stop]))
            filled = size
            _wait_for_index(metrics_url, size, console)
            measured.append(_measure_size(client, graph, vectors[:size], queries, pid, upserts_per_s))
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
            text = urlopen(metrics_url, timeout=10).read().decode()
            outside = [line.split()[1] for line in text.splitlines() if line.startswith("triptych_catalogue_unindexed")]
            if outside and float(outside[0]) <= max(EXACT_BELOW, size / 20):
                return
            time.sleep(2)
    raise LoadTestError(f"No HNSW index of {size} photos after {INDEX_TIMEOUT_S:g} s. The server's log has the cause.")


def _measure_size(
    client: Client, graph: Index, vectors: Floats, queries: Floats, pid: int, upserts_per_s: float
) -> Size:
    served_s: list[float] = []
    own_s: list[float] = []
    served: list[set[str]] = []
    own: list[set[str]] = []
    matrix = np.ascontiguousarray(vectors)
    for part in np.array_split(queries, ROUNDS):
        for query in part:
            started_s = time.perf_counter()
            answer = client.search_embedding(query, k=K)
            served_s.append(time.perf_counter() - started_s)
            served.append({match.product_id for match in answer.matches})
        for query in part:
            started_s = time.perf_counter()
            rows = _search_in_process(graph, matrix, query)
            own_s.append(time.perf_counter() - started_s)
            own.append({f"photo-{row}" for row in rows})
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        started_s = time.perf_counter()
        list(threads.map(lambda query: client.search_embedding(query, k=K), queries))
        concurrent_per_s = len(queries) / (time.perf_counter() - started_s)
    truth = [{f"photo-{row}" for row in rows} for rows in _nearest(vectors, queries)]
    return Size(
        photos=len(vectors),
        recall_10=_recall(truth, served),
        p50_ms=1000 * statistics.median(served_s),
        p99_ms=1000 * float(np.percentile(served_s, 99)),
        concurrent_per_s=concurrent_per_s,
        in_process_ms=1000 * statistics.median(own_s),
        in_process_recall_10=_recall(truth, own),
        ratio=statistics.median(own_s) / statistics.median(served_s),
        index_mb=_index_mb(pid),
        upserts_per_s=upserts_per_s,
    )


def _search_in_process(graph: Index, matrix: Floats, query: Floats) -> list[int]:
    """As the server: candidates of the HNSW index, scored again in full precision."""
    rows = np.asarray(graph.search(query, EXPANSION_SEARCH).keys, np.int64)
    scores = matrix[rows] @ query
    return [int(row) for row in rows[np.argsort(-scores)[:K]]]


def _recall(truth: list[set[str]], found: list[set[str]]) -> float:
    return statistics.mean(len(expected & names) for expected, names in zip(truth, found, strict=True)) / K


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
    with Client(target, timeout_s=60, catalogue_key=key, max_in_flight=8) as client:
        search_ms, recognize_ms = _compare_calls(client, photos, count)
        ratios = _compare_upserts(client, photos, count // ROUNDS)
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


def _compare_calls(client: Client, photos: Iterator[bytes], count: int) -> tuple[float, float]:
    """Median milliseconds of search and of recognize."""
    calls: dict[str, Callable[[bytes], object]] = {"recognize": client.recognize, "search": client.search}
    times_s: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(count):
        for name in sorted(calls, reverse=bool(number % 2)):
            photo = next(photos)
            started_s = time.perf_counter()
            calls[name](photo)
            times_s[name].append(time.perf_counter() - started_s)
    return 1000 * statistics.median(times_s["search"]), 1000 * statistics.median(times_s["recognize"])


def _compare_upserts(client: Client, photos: Iterator[bytes], share: int) -> list[float]:
    """Per round: photos per second of upsert over those of embed. Deletes the upserted photos."""
    rates: dict[str, list[float]] = {"embed": [], "upsert": []}
    for turn in range(ROUNDS):
        for name in sorted(rates, reverse=bool(turn % 2)):
            batch = list(itertools.islice(photos, share))
            started_s = time.perf_counter()
            if name == "embed":
                for item in client.embed_many(batch):
                    item.result()
            else:
                client.catalogue.upsert_many(
                    CatalogueItem(f"new-{turn}-{place}", photo) for place, photo in enumerate(batch)
                )
            rates[name].append(len(batch) / (time.perf_counter() - started_s))
    client.catalogue.delete([f"new-{turn}-{place}" for turn in range(ROUNDS) for place in range(share)])
    return [upsert / embed for upsert, embed in zip(rates["upsert"], rates["embed"], strict=True)]


def _show(measured: list[Size], console: Console) -> None:
    table = Table(box=None)
    for column in _COLUMNS:
        table.add_column(column, justify="right")
    for size in measured:
        table.add_row(
            f"{size.photos:,}",
            f"{size.recall_10:.3f}",
            f"{size.p50_ms:.1f}",
            f"{size.p99_ms:.1f}",
            f"{size.concurrent_per_s:.0f}",
            f"{size.in_process_ms:.1f}",
            f"{size.in_process_recall_10:.3f}",
            f"{size.ratio:.2f}",
            f"{size.index_mb:.0f}",
            f"{size.upserts_per_s:.0f}",
        )
    console.print(table)


def draw_search(measured: list[Size], file: Path) -> None:
    """Writes a PNG of time, recall and memory over the size of the catalogue."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    photos = [size.photos for size in measured]
    left, middle, right = figure.subplots(1, 3)
    left.plot(photos, [size.p50_ms for size in measured], marker="o", label="through the server, concurrency 1")
    left.plot(photos, [size.in_process_ms for size in measured], marker="o", label="the same library in process")
    left.set_title("Search by embedding, median ms")
    left.set_ylim(bottom=0)
    left.legend()
    middle.plot(photos, [size.recall_10 for size in measured], marker="o")
    middle.axhline(0.98, color="grey", linewidth=0.8)
    middle.set_title("recall@10 of the server")
    right.plot(photos, [size.index_mb for size in measured], marker="o")
    right.set_title("Memory of `index`, MB")
    right.set_ylim(bottom=0)
    for axes in (left, middle, right):
        axes.set_xscale("log")
        axes.set_xlabel("photos in the catalogue")
        axes.grid(visible=True, color="#eeeeee")
    figure.savefig(file, dpi=110)
