"""The reference that a served model measures drift from: the mean embedding of the photos a release was verified on."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from export.layout import model_file

REFERENCE = model_file("embedder", "1/reference.json")

_BATCH_SIZE = 32


def reference_file(embedder_onnx: bytes, pixels: npt.NDArray[np.uint8]) -> bytes:
    """JSON: how many `photos`, and their `mean_embedding`, whose norm is below 1 as the photos differ.

    Means something for a shop when the photos are the shop's (`--photos`), some hundred of them: 1,200 photos of
    clothes are at a cosine distance of 0.40 from the mean of 20 ImageNet samples, and 20 of these clothes at 0.04 from
    the mean of all.

    Args:
        embedder_onnx: the placed network.
        pixels: uint8[N,S,S,3], as the network sees them.
    """
    session = ort.InferenceSession(embedder_onnx, providers=["CPUExecutionProvider"])
    total = np.zeros(0)
    for start in range(0, len(pixels), _BATCH_SIZE):
        (embeddings,) = session.run(["embedding"], {"pixels": pixels[start : start + _BATCH_SIZE]})
        total = embeddings.sum(axis=0, dtype=np.float64) + (total if total.size else 0)
    mean = [round(float(value), 8) for value in total / len(pixels)]
    return (json.dumps({"photos": len(pixels), "mean_embedding": mean}) + "\n").encode()
