"""Embedder and classifier in one process, from the ONNX files of the models with these names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from triptych_models.recognition.onnx_session import open_session

# Photos in a run, and whether the run has all cores: a single photo, a photo under load, the batch that profile `cpu`
# prefers, the largest batch. ONNX Runtime plans its memory for each size.
WARM_UP = ((1, True), (1, False), (2, False), (8, False))

Pixels = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[np.float32]]


class Network:
    """Embedder and classifier, each with two sessions: one thread and many threads. The second session costs 20 MB.

    Args:
        embedder, classifier: the ONNX files.
        lone_threads: threads for a request while all other instances are idle.
    """

    def __init__(self, embedder: Path, classifier: Path, lone_threads: int) -> None:
        self._files = embedder, classifier
        self._one_thread = self._open(1)
        self._many_threads = self._one_thread
        self._scores = [output.name for output in self._one_thread[1].get_outputs()]
        if lone_threads > 1:
            self._many_threads = self._open(lone_threads)
        self._warm_up()

    def embed(self, pixels: Pixels, is_alone: bool) -> Arrays:
        """uint8[N,S,S,3] -> `features` float32[N,F], `embedding` float32[N,D]."""
        return _run(self._sessions(is_alone)[0], ["features", "embedding"], {"pixels": pixels})

    def classify(self, features: Features, is_alone: bool) -> Arrays:
        """float32[N,F] -> `category_scores` float32[N,C], `retail_score` float32[N,1], `<attribute>_scores`."""
        return _run(self._sessions(is_alone)[1], self._scores, {"features": features})

    def _open(self, threads: int) -> tuple[ort.InferenceSession, ort.InferenceSession]:
        embedder, classifier = (open_session(file, threads, spins_within_a_run=True) for file in self._files)
        return embedder, classifier

    def _sessions(self, is_alone: bool) -> tuple[ort.InferenceSession, ort.InferenceSession]:
        return self._many_threads if is_alone else self._one_thread

    def _warm_up(self) -> None:
        """Warms up both sessions: Triton's warm-up reaches only one, then its photo is answered from the cache."""
        side_px = self._one_thread[0].get_inputs()[0].shape[1]
        for photos, is_alone in WARM_UP:
            pixels = np.zeros((photos, side_px, side_px, 3), np.uint8)
            self.classify(self.embed(pixels, is_alone)["features"], is_alone)


def _run(session: ort.InferenceSession, outputs: list[str], inputs: dict[str, Any]) -> Arrays:
    return dict(zip(outputs, session.run(outputs, inputs), strict=True))
