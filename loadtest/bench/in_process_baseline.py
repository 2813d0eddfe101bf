"""The in-process baseline: the serving package's decoder and the placed ONNX files, without a server."""

from __future__ import annotations

import functools
import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any

Results = tuple[float, list[float]]


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


class InProcessBaseline:
    """Worker processes that are idle except during `run`; the context manager ends them."""

    def __init__(self, repository: Path, layout: WorkerLayout, photos: list[bytes]) -> None:
        self.layout = layout
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._workers = []
        for _ in range(layout.processes):
            ours, theirs = context.Pipe()
            worker = context.Process(target=_work, args=(theirs, repository, layout, photos), daemon=True)
            worker.start()
            theirs.close()
            self._pipes.append(ours)
            self._workers.append(worker)
        for pipe in self._pipes:
            pipe.recv()

    def run(self, duration_s: float) -> Results:
        """Works for `duration_s`; returns photos per second of all workers, and the seconds of each run."""
        for pipe in self._pipes:
            pipe.send(duration_s)
        results: list[Results] = [pipe.recv() for pipe in self._pipes]
        return sum(rate for rate, _ in results), [latency for _, latencies in results for latency in latencies]

    def __enter__(self) -> InProcessBaseline:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()
        for worker in self._workers:
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
