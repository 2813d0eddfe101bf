"""The same work in one process: the model repository's own decoder and ONNX files, without a server."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort


class InProcess:
    """Decode, embed and classify as the server does, as plain calls.

    Args:
        repository: a model repository with its weights placed.
        threads: ONNX Runtime threads, as the server's instances have.

    Raises:
        FileNotFoundError: the weights are not placed.
    """

    def __init__(self, repository: Path, threads: int) -> None:
        self._preprocessing: Any = _load_module(repository / "preprocess/1/preprocessing.py")
        transform = json.loads((repository / "preprocess/1/transform.json").read_text(encoding="utf-8"))
        self._transform = self._preprocessing.Transform(**transform)
        self._limits = self._preprocessing.Limits(max_image_bytes=20_000_000, max_image_pixels=50_000_000)
        self._embedder = _session(repository / "embedder/1/model.onnx", threads)
        self._classifier = _session(repository / "classifier/1/model.onnx", threads)

    def recognize(self, photo: bytes) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """`category_scores` float32[C] and `embedding` float32[D] of one encoded photo."""
        pixels = self._preprocessing.preprocess(photo, self._transform, self._limits)
        features, embedding = self._embedder.run(["features", "embedding"], {"pixels": pixels[None]})
        scores, _ = self._classifier.run(["category_scores", "retail_score"], {"features": features})
        return scores[0], embedding[0]


def _session(onnx_file: Path, threads: int) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    return ort.InferenceSession(str(onnx_file), options, providers=["CPUExecutionProvider"])


def _load_module(file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(f"No Python module at {file}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
