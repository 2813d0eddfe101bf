"""The same work without a server: the serving package's decoder and placed ONNX files, in one process or several."""

from __future__ import annotations

import functools
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class CeilingShape:
    """How the work is spread: processes x ONNX Runtime threads, photos a run."""

    processes: int
    threads: int
    batch_size: int = 1

    def __str__(self) -> str:
        batch = f", batch {self.batch_size}" if self.batch_size > 1 else ""
        return f"in process, {self.processes} x {self.threads} thread{'s' * (self.threads > 1)}{batch}"


class InProcess:
    """Decode, embed and classify as plain calls.

    Args:
        repository: a model repository with its weights placed.
        threads: ONNX Runtime threads.

    Raises:
        FileNotFoundError: the weights are not placed.
    """

    def __init__(self, repository: Path, threads: int) -> None:
        # Not above: the load-test image has this module and no serving package.
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


class Ceiling:
    """Worker processes that are idle until `run`. A context manager: they end with it."""

    def __init__(self, repository: Path, shape: CeilingShape, photos: list[bytes]) -> None:
        self.shape = shape
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._workers = []
        for _ in range(shape.processes):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs, repository, shape, photos), daemon=True)
            worker.start()
            theirs.close()
            self._pipes.append(ours)
            self._workers.append(worker)
        for pipe in self._pipes:
            pipe.recv()

    def run(self, duration_s: float) -> tuple[float, list[float]]:
        """Works for `duration_s`; returns photos a second over all workers, and the seconds of each run."""
        for pipe in self._pipes:
            pipe.send(duration_s)
        results: list[tuple[float, list[float]]] = [pipe.recv() for pipe in self._pipes]
        return sum(rate for rate, _ in results), [latency for _, latencies in results for latency in latencies]

    def __enter__(self) -> Ceiling:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()
        for worker in self._workers:
            worker.join()


def _work(pipe: Connection, repository: Path, shape: CeilingShape, photos: list[bytes]) -> None:
    in_process = InProcess(repository, shape.threads)
    batches = [
        [photos[(start + offset) % len(photos)] for offset in range(shape.batch_size)]
        for start in range(0, len(photos), shape.batch_size)
    ]
    for batch in batches[:3]:
        in_process.recognize(batch)
    pipe.send("ready")
    try:
        while True:
            duration_s: float = pipe.recv()
            latencies: list[float] = []
            started = time.perf_counter()
            while (before := time.perf_counter()) - started < duration_s:
                in_process.recognize(batches[len(latencies) % len(batches)])
                latencies.append(time.perf_counter() - before)
            pipe.send((len(latencies) * shape.batch_size / (time.perf_counter() - started), latencies))
    except EOFError:
        return
