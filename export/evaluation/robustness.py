"""Robustness: accuracy on corrupted photos, for each kind of `corruptions` at three strengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import EvaluationError
from export.evaluation.corruptions import STRENGTHS, UNITS, corrupt
from export.evaluation.intervals import Estimate, estimate_share

Predict = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.floating[Any]]]
OnProgress = Callable[[int, int], None]

_BATCH_SIZE = 32
_PHOTOS = 400


@dataclass(frozen=True)
class CorruptedAccuracy:
    """`accuracy` under `kind` at `strength`, in `unit`."""

    kind: str
    strength: float
    unit: str
    accuracy: Estimate


@dataclass(frozen=True)
class Robustness:
    """Accuracy of one attribute on clean and corrupted photos.

    Attributes:
        attribute: the attribute that is predicted.
        clean: accuracy on the same photos without corruption.
        corrupted: by kind, from mild to strong.
        samples: uint8[K,4,S,S,3]: one photo per kind, clean and at each strength; not part of the JSON.
    """

    attribute: str
    clean: Estimate
    corrupted: list[CorruptedAccuracy]
    samples: npt.NDArray[np.uint8]

    def to_json(self) -> dict[str, Any]:
        return {
            "attribute": self.attribute,
            "clean": asdict(self.clean),
            "corrupted": [asdict(row) for row in self.corrupted],
        }


def measure_robustness(
    attribute: str,
    pixels: npt.NDArray[np.uint8],
    targets: npt.NDArray[np.int64],
    predict: Predict,
    *,
    photos: int = _PHOTOS,
    seed: int = 0,
    on_progress: OnProgress | None = None,
) -> Robustness:
    """Measures the accuracy; calls `predict` 19 times per photo.

    Args:
        attribute: the attribute that `predict` computes.
        pixels: uint8[N,S,S,3], RGB, 0-255: preprocessed test photos.
        targets: int64[N].
        predict: uint8[n,S,S,3] -> float32[n,C], logits or scores; called with at most 32 photos.
        photos: maximum number of photos; a random sample if there are more.
        seed: of the sample and of the corruptions.
        on_progress: called with the number of finished rounds and of all rounds.

    Raises:
        EvaluationError: photos and targets do not match.
    """
    if not len(pixels) or len(pixels) != len(targets) or pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise EvaluationError(
            f"{attribute}: robustness needs uint8[N,S,S,3] and one target per photo; got {pixels.dtype}"
            f"{list(pixels.shape)} and {len(targets)} targets."
        )
    if len(pixels) > photos:
        drawn = np.sort(np.random.default_rng(seed).choice(len(pixels), photos, replace=False))
        pixels, targets = pixels[drawn], targets[drawn]
    rounds = [(kind, strength) for kind, strengths in STRENGTHS.items() for strength in strengths]
    clean = _measure_accuracy(predict, targets, _batches(pixels))
    corrupted = []
    for done, (kind, strength) in enumerate(rounds, start=1):
        corrupted_photos = _corrupt_batches(pixels, kind, strength, seed)
        corrupted.append(
            CorruptedAccuracy(kind, strength, UNITS[kind], _measure_accuracy(predict, targets, corrupted_photos))
        )
        if on_progress is not None:
            on_progress(done, len(rounds))
    return Robustness(attribute, clean, corrupted, _samples(pixels, seed))


def _batches(pixels: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    for start in range(0, len(pixels), _BATCH_SIZE):
        yield pixels[start : start + _BATCH_SIZE]


def _corrupt_batches(
    pixels: npt.NDArray[np.uint8], kind: str, strength: float, seed: int
) -> Iterator[npt.NDArray[np.uint8]]:
    """Corrupts one batch at a time: all at once would double the memory."""
    for number, batch in enumerate(_batches(pixels)):
        yield corrupt(batch, kind, strength, seed + number, pixels)


def _measure_accuracy(
    predict: Predict, targets: npt.NDArray[np.int64], batches: Iterator[npt.NDArray[np.uint8]]
) -> Estimate:
    answers = np.concatenate([predict(batch).argmax(axis=1) for batch in batches])
    return estimate_share(int((answers == targets).sum()), len(targets))


def _samples(pixels: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint8]:
    first = pixels[:1]
    rows = []
    for kind, strengths in STRENGTHS.items():
        corrupted_photos = [corrupt(first, kind, strength, seed, pixels)[0] for strength in strengths]
        rows.append(np.stack([first[0], *corrupted_photos]))
    return np.stack(rows)
