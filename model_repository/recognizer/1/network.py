"""The sibling models' ONNX files in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

# Photos in a run, and whether it has the machine to itself: a lone photo, a photo under load, the batch that the `cpu`
# profile prefers, the largest. ONNX Runtime plans its memory anew for each size.
WARM_UP = ((1, True), (1, False), (2, False), (8, False))

Pixels = npt.NDArray[np.uint8]
Features = npt.NDArray[np.float32]
Arrays = dict[str, npt.NDArray[np.float32]]


class Network:
    """Embedder and classifier, opened twice: for one thread and for many. A second session costs 20 MB.

    Args:
        embedder, classifier: their ONNX files.
        lone_threads: threads for a request that has the machine to itself.
    """

    def __init__(self, embedder: Path, classifier: Path, lone_threads: int) -> None:
        self._one_thread = _open(embedder, 1), _open(classifier, 1)
        self._many_threads = self._one_thread
        self._scores = [output.name for output in self._one_thread[1].get_outputs()]
        if lone_threads > 1:
            self._many_threads = _open(embedder, lone_threads), _open(classifier, lone_threads)
        self._warm_up()

    def embed(self, pixels: Pixels, is_alone: bool) -> Arrays:
        """uint8[N,S,S,3] -> `features` float32[N,F], `embedding` float32[N,D]."""
        return _run(self._sessions(is_alone)[0], ["features", "embedding"], {"pixels": pixels})

    def classify(self, features: Features, is_alone: bool) -> Arrays:
        """float32[N,F] -> `category_scores` float32[N,C], `retail_score` float32[N,1], `<attribute>_scores`."""
        return _run(self._sessions(is_alone)[1], self._scores, {"features": features})

    def _sessions(self, is_alone: bool) -> tuple[ort.InferenceSession, ort.InferenceSession]:
        return self._many_threads if is_alone else self._one_thread

    def _warm_up(self) -> None:
        """Triton's own warm-up meets one instance and one of the two sessions; the rest is an answer from the cache."""
        side_px = self._one_thread[0].get_inputs()[0].shape[1]
        for photos, is_alone in WARM_UP:
            pixels = np.zeros((photos, side_px, side_px, 3), np.uint8)
            self.classify(self.embed(pixels, is_alone)["features"], is_alone)


def _run(session: ort.InferenceSession, outputs: list[str], inputs: dict[str, Any]) -> Arrays:
    return dict(zip(outputs, session.run(outputs, inputs), strict=True))


def _open(onnx_file: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads spin within a run, where they wait microseconds, and sleep after it: a thread that spins on takes the core
    # of the decoder. Measured on 2 cores, one photo: 9.3 ms; without spinning 11.4; spinning on (the default) 17.3.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return ort.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])
