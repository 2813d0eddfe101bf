"""What searching costs over the same library in this process, over recognising, and as the catalogue grows.

Everything goes through a server of its own catalogue, which must be empty; the embeddings are those of `embeddings`.
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
GRAPH_PATIENCE_S = 3600.0


@dataclass(frozen=True)
class Size:
    """Of one size of the catalogue.

    Attributes:
        recall_10: share of the ten truly nearest that the server found.
        one_ms, four_per_s: median of one caller, rate of four, through the server.
        in_process_one_ms: the same library's graph and the same scoring again, in this process.
        ratio: its rate over the server's time for one caller: 1 is no cost.
        stub_mb: resident memory of the model's process.
    """

    photos: int
    recall_10: float
    one_ms: float
    p99_ms: float
    four_per_s: float
    in_process_one_ms: float
    in_process_recall_10: float
    ratio: float
    stub_mb: float
    upserts_per_s: float


def measure(
    target: str, key: str, metrics_url: str, pid: int, vectors: Floats, sizes: list[int], console: Console
) -> list[Size]:
    """Fills the catalogue from size to size and measures at each.

    `vectors` are float32[N,D], L2 norm 1; the last `QUERIES` are searched with.

    Raises:
        LoadTestError: the catalogue is not empty, there are too few vectors, or no graph is built.
    """
    if len(vectors) < sizes[-1] + QUERIES:
        raise LoadTestError(f"{len(vectors)} embeddings, expected {sizes[-1]} and {QUERIES} to search with.")
    queries = np.ascontiguousarray(vectors[sizes[-1] : sizes[-1] + QUERIES])
    measured: list[Size] = []
    graph = new_graph(vectors.shape[1])
    wire = triton.InferenceServerClient(target)
    with Client(target, timeout_s=60, catalogue_key=key, max_in_flight=CONCURRENCY) as client:
        there = client.catalogue.count().photos
        if there:
            raise LoadTestError(f"The catalogue has {there} photos; this needs an empty one, as `ops run` starts.")
        filled = 0
        for size in sizes:
            upserts_per_s = _fill(wire, key, vectors, filled, size, console)
            with console.status(f"adding {size} to a graph in this process"):
                for start in range(filled, size, 4096):
                    stop = min(start + 4096, size)
                    graph.add(np.arange(start, stop), np.ascontiguousarray(vectors[start:stop]))
            filled = size
            _await_graph(metrics_url, size, console)
            measured.append(_measure_size(client, graph, vectors[:size], queries, pid, upserts_per_s))
            _show(measured, console)
    return measured


def _fill(
    wire: triton.InferenceServerClient, key: str, vectors: Floats, start: int, stop: int, console: Console
) -> float:
    """The client puts photos in, not embeddings."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f"putting in up to {stop}", total=stop - start)
        started_s = time.perf_counter()
        for first in range(start, stop, BATCH):
            rows = range(first, min(first + BATCH, stop))
            items = [{"product_id": f"photo-{row}", "fields": {"tens": row % 10}} for row in rows]
            request = triton.InferInput("request", [1], "BYTES")
            request.set_data_from_numpy(np.array([json.dumps({"call": "upsert", "items": items}).encode()], object))
            embedding = triton.InferInput("embedding", [len(rows), vectors.shape[1]], "FP32")
            embedding.set_data_from_numpy(np.ascontiguousarray(vectors[first : first + len(rows)]))
            wire.infer("catalogue", [request, embedding], parameters={"catalogue_key": key})
            progress.advance(task, len(rows))
    return (stop - start) / (time.perf_counter() - started_s)


def _await_graph(metrics_url: str, size: int, console: Console) -> None:
    """Until hardly anything is outside of the graph; a small catalogue has none."""
    deadline_s = time.monotonic() + GRAPH_PATIENCE_S
    with console.status("the server builds its graph"):
        while time.monotonic() < deadline_s:
            text = urlopen(metrics_url, timeout=10).read().decode()
            outside = [line.split()[1] for line in text.splitlines() if line.startswith("triptych_catalogue_unindexed")]
            if outside and float(outside[0]) <= max(EXACT_BELOW, size / 20):
                return
            time.sleep(2)
    raise LoadTestError(f"No graph over {size} photos after {GRAPH_PATIENCE_S:g} s. The server's log says why.")


def _measure_size(
    client: Client, graph: Index, vectors: Floats, queries: Floats, pid: int, upserts_per_s: float
) -> Size:
    truth = _nearest(vectors, queries)
    served: list[float] = []
    own: list[float] = []
    found: list[set[str]] = []
    matrix = np.ascontiguousarray(vectors)
    own_found: list[set[int]] = []
    share = len(queries) // ROUNDS
    for turn in range(ROUNDS):
        part = queries[turn * share : (turn + 1) * share]
        for query in part:
            started_s = time.perf_counter()
            answer = client.search_embedding(query, k=K)
            served.append(time.perf_counter() - started_s)
            found.append({match.product_id for match in answer.matches})
        for query in part:
            started_s = time.perf_counter()
            own_found.append(_search_here(graph, matrix, query))
            own.append(time.perf_counter() - started_s)
    with ThreadPoolExecutor(CONCURRENCY) as callers:
        started_s = time.perf_counter()
        list(callers.map(lambda query: client.search_embedding(query, k=K), queries))
        four_per_s = len(queries) / (time.perf_counter() - started_s)
    hits = [len({f"photo-{row}" for row in rows} & names) for rows, names in zip(truth, found, strict=False)]
    own_hits = [len(set(rows) & rows_found) for rows, rows_found in zip(truth, own_found, strict=False)]
    one_s, own_s = statistics.median(served), statistics.median(own)
    return Size(
        len(vectors),
        statistics.mean(hits) / K,
        1000 * one_s,
        1000 * float(np.percentile(served, 99)),
        four_per_s,
        1000 * own_s,
        statistics.mean(own_hits) / K,
        own_s / one_s,
        _stub_mb(pid),
        upserts_per_s,
    )


def _search_here(graph: Index, matrix: Floats, query: Floats) -> set[int]:
    """As the server does: the graph's candidates, scored again in full precision."""
    rows = np.asarray(graph.search(query, EXPANSION_SEARCH).keys, np.int64)
    scores = matrix[rows] @ query
    return set(rows[np.argsort(-scores)[:K]].tolist())


def _nearest(vectors: Floats, queries: Floats) -> list[list[int]]:
    rows: list[list[int]] = []
    for start in range(0, len(queries), 50):
        scores = queries[start : start + 50] @ vectors.T
        rows += np.argsort(-scores, axis=1)[:, :K].tolist()
    return rows


def _stub_mb(pid: int) -> float:
    """Of the process of `index`."""
    for child in psutil.Process(pid).children(recursive=True):
        if any("/models/index/1/model.py" in argument for argument in child.cmdline()):
            return float(child.memory_info().rss / 1e6)
    raise LoadTestError(f"Process {pid} has no model `index`; name the process of tritonserver with --pid.")


def compare_photos(target: str, key: str, photos: Iterator[bytes], count: int, console: Console) -> dict[str, float]:
    """Search by photo beside recognise, upsert by photo beside embed: medians and rates of interleaved turns."""
    times: dict[str, list[float]] = {"recognize": [], "search": []}
    rates: dict[str, list[float]] = {"embed": [], "upsert": []}
    with Client(target, timeout_s=60, catalogue_key=key, max_in_flight=8) as client:
        calls: dict[str, Callable[[bytes], object]] = {"recognize": client.recognize, "search": client.search}
        for number in range(count):
            for name in sorted(calls, reverse=bool(number % 2)):
                photo = next(photos)
                started_s = time.perf_counter()
                calls[name](photo)
                times[name].append(time.perf_counter() - started_s)
        for turn in range(ROUNDS):
            for name in sorted(rates, reverse=bool(turn % 2)):
                batch = list(itertools.islice(photos, count // ROUNDS))
                started_s = time.perf_counter()
                if name == "embed":
                    for item in client.embed_many(batch):
                        item.result()
                else:
                    client.catalogue.upsert_many(
                        CatalogueItem(f"new-{turn}-{place}", photo) for place, photo in enumerate(batch)
                    )
                rates[name].append(len(batch) / (time.perf_counter() - started_s))
        client.catalogue.delete([f"new-{turn}-{place}" for turn in range(ROUNDS) for place in range(count // ROUNDS)])
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    ratios = [one / other for one, other in zip(rates["upsert"], rates["embed"], strict=True)]
    report = {
        "recognize_ms": medians["recognize"],
        "search_ms": medians["search"],
        "search_over_recognize": medians["search"] / medians["recognize"],
        "upsert_over_embed": statistics.median(ratios),
        "upsert_over_embed_low": min(ratios),
        "upsert_over_embed_high": max(ratios),
    }
    console.print(
        f"one caller: search by photo {medians['search']:.1f} ms, recognize {medians['recognize']:.1f} ms: "
        f"{report['search_over_recognize']:.2f}; upsert by photo over embed, photos/s: "
        f"{report['upsert_over_embed']:.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    )
    return report


def _show(measured: list[Size], console: Console) -> None:
    table = Table(box=None)
    for column in (
        "photos",
        "recall@10",
        "ms",
        "p99",
        "4 callers /s",
        "in process ms",
        "its recall",
        "ratio",
        "MB",
        "in /s",
    ):
        table.add_column(column, justify="right")
    for size in measured:
        table.add_row(
            f"{size.photos:,}",
            f"{size.recall_10:.3f}",
            f"{size.one_ms:.1f}",
            f"{size.p99_ms:.1f}",
            f"{size.four_per_s:.0f}",
            f"{size.in_process_one_ms:.1f}",
            f"{size.in_process_recall_10:.3f}",
            f"{size.ratio:.2f}",
            f"{size.stub_mb:.0f}",
            f"{size.upserts_per_s:.0f}",
        )
    console.print(table)


def draw(measured: list[Size], file: Path) -> None:
    """Time, recall and memory over the size of the catalogue, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    photos = [size.photos for size in measured]
    left, middle, right = figure.subplots(1, 3)
    left.plot(photos, [size.one_ms for size in measured], marker="o", label="through the server, one caller")
    left.plot(photos, [size.in_process_one_ms for size in measured], marker="o", label="the same library in process")
    left.set_title("Search by embedding, median ms")
    left.set_ylim(bottom=0)
    left.legend()
    middle.plot(photos, [size.recall_10 for size in measured], marker="o")
    middle.axhline(0.98, color="grey", linewidth=0.8)
    middle.set_title("recall@10 of the server")
    right.plot(photos, [size.stub_mb for size in measured], marker="o")
    right.set_title("Memory of `index`, MB")
    right.set_ylim(bottom=0)
    for axes in (left, middle, right):
        axes.set_xscale("log")
        axes.set_xlabel("photos in the catalogue")
        axes.grid(visible=True, color="#eeeeee")
    figure.savefig(file, dpi=110)
