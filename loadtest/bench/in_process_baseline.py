"""The in-process baseline: the serving package's decoder and the placed ONNX files, without a server."""

from __future__ import annotations

import functools
import multiprocessing
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from loadtest.bench.closed_loop import Measure, Measurement


@dataclass(frozen=True)
class WorkerLayout:
    """Processes x ONNX Runtime threads, and photos per run."""

    processes: int
    threads: int
    batch_size: int = 1

    def __str__(self) -> str:
        batch = f", batch {self.batch_size}" if self.batch_size > 1 else ""
        return f"in process, {self.processes} x {self.threads} thread{'s' * (self.threads > 1)}{batch}"


class InProcessRecognizer:
    """Decoding, embedding and classification as plain function calls.

    Args:
        repository: a model repository with placed weights.
        threads: ONNX Runtime threads.

    Raises:
        FileNotFoundError: the weights are not placed.
    """

    def __init__(self, repository: Path, threads: int) -> None:
        # Imported here, because the load-test image has this module but not the serving package.
        from triptych_models.placed_files import PlacedFiles
        from triptych_models.recognition.onnx_session import open_session
        from triptych_models.recognition.preprocessing import Limits, preprocess_all
        from triptych_models.recognition.transform import read_transform

        files = PlacedFiles(repository / "models")
        limits = Limits(max_image_bytes=20_000_000, max_image_pixels=50_000_000)
        self._decode = functools.partial(preprocess_all, transform=read_transform(files.transform), limits=limits)
        self._embedder, self._classifier = (
            open_session(file, threads, spins_within_a_run=True) for file in (files.embedder, files.classifier)
        )

    def recognize(self, photos: list[bytes]) -> tuple[Any, Any]:
        """`category_scores` float32[N,C] and `embedding` float32[N,D] of N encoded photos."""
        pixels = self._decode(photos)
        features, embedding = self._embedder.run(["features", "embedding"], {"pixels": pixels})
        scores, _ = self._classifier.run(["category_scores", "retail_score"], {"features": features})
        return scores, embedding


@contextmanager
def start_workers(repository: Path, layout: WorkerLayout, photos: list[bytes]) -> Iterator[Measure]:
    """Worker processes that are idle except in the yielded function, which lets all of them work for some seconds."""
    context = multiprocessing.get_context("spawn")
    pipes, workers = [], []
    for _ in range(layout.processes):
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(theirs, repository, layout, photos), daemon=True)
        worker.start()
        theirs.close()
        pipes.append(ours)
        workers.append(worker)
    for pipe in pipes:
        pipe.recv()

    def measure(duration_s: float) -> Measurement:
        for pipe in pipes:
            pipe.send(duration_s)
        results: list[tuple[float, list[float]]] = [pipe.recv() for pipe in pipes]
        return Measurement(
            sum(rate for rate, _ in results), [each for _, latencies_s in results for each in latencies_s]
        )

    try:
        yield measure
    finally:
        for pipe in pipes:
            pipe.close()
        for worker in workers:
            worker.join()


def _work(pipe: Connection, repository: Path, layout: WorkerLayout, photos: list[bytes]) -> None:
    recognizer = InProcessRecognizer(repository, layout.threads)
    batches = [
        [photos[(start + offset) % len(photos)] for offset in range(layout.batch_size)]
        for start in range(0, len(photos), layout.batch_size)
    ]
    for batch in batches[:3]:
        recognizer.recognize(batch)
    pipe.send("ready")
    try:
        while True:
            duration_s: float = pipe.recv()
            latencies: list[float] = []
            started = time.perf_counter()
            while (before := time.perf_counter()) - started < duration_s:
                recognizer.recognize(batches[len(latencies) % len(batches)])
                latencies.append(time.perf_counter() - before)
            pipe.send((len(latencies) * layout.batch_size / (time.perf_counter() - started), latencies))
    except EOFError:
        return
