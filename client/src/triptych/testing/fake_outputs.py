"""The outputs of the fake server: tensors derived from a photo's bytes alone, the same on every machine."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from triptych._core.protocol import Tensor


def fake_embedding(photo: bytes, size: int) -> npt.NDArray[np.float32]:
    """`float32[size]` of L2 norm 1, in a random direction that is derived from the photo."""
    return normalised(_uniform(photo, "embedding", size) - 0.5)


def fake_retail_score(photo: bytes) -> float:
    """0 to 1."""
    return float(_uniform(photo, "retail_score", 1)[0])


def fake_scores(photo: bytes, attribute: str, count: int) -> npt.NDArray[np.float32]:
    """`float32[count]`, probabilities of the classes of an attribute; they sum to 1."""
    # Distributed like those of a confident classifier: a softmax over logits from 0 to 8.
    weights = np.exp(8 * _uniform(photo, attribute, count))
    return np.asarray(weights / weights.sum(), dtype=np.float32)


def fill_scores(given: Mapping[int, float], count: int) -> npt.NDArray[np.float32]:
    """`float32[count]`: the given scores by class index; the other classes share the rest to 1."""
    others = max(1, count - len(given))
    scores = np.full(count, max(0.0, 1.0 - sum(given.values())) / others, dtype=np.float32)
    for index, score in given.items():
        scores[index] = score
    return scores


def normalised(vector: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """The vector's direction as float32."""
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


def floats_tensor(rows: Sequence[npt.NDArray[np.float32]]) -> Tensor:
    """FP32[N,D]."""
    matrix = np.stack(rows).astype("<f4", copy=False)
    return Tensor("FP32", matrix.shape, matrix.tobytes())


def classes_tensor(rows: Iterable[npt.NDArray[np.float32]], lines: Sequence[str], best: int) -> Tensor:
    """BYTES[N,best]: the best classes of each row in the format of Triton's classification extension."""
    best = min(best, len(lines))
    elements = []
    count = 0
    for scores in rows:
        count += 1
        for index in np.argsort(-scores, kind="stable")[:best]:
            element = f"{scores[index]:f}:{index}:{lines[index]}".encode()
            elements.append(struct.pack("<I", len(element)) + element)
    return Tensor("BYTES", (count, best), b"".join(elements))


def _uniform(photo: bytes, purpose: str, count: int) -> npt.NDArray[np.float64]:
    """`count` numbers from 0 to 1, derived from the photo. numpy's own generators may change between versions."""
    digest = hashlib.shake_256(purpose.encode() + b"\0" + hashlib.sha256(photo).digest())
    return np.frombuffer(digest.digest(4 * count), dtype="<u4") / 2**32
