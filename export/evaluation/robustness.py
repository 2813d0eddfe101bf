"""Robustness: accuracy on corrupted photos, for each kind of `corruptions` at three strengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from export.arrays import AnyFloats, Integers, Pixels
from export.evaluation.corruptions import STRENGTHS, UNITS, corrupt
from export.evaluation.intervals import Estimate, estimate_share
from export.progress import OnProgress

# uint8[n,S,S,3] -> float32[n,C], logits or scores; called with at most `_BATCH_SIZE` photos.
Predict = Callable[[Pixels], AnyFloats]

_BATCH_SIZE = 32
_SEED = 0


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
        clean: accuracy on the same photos without corruption.
        corrupted: by kind, from mild to strong.
        samples: uint8[K,4,S,S,3]: one photo per kind, clean and at each strength; not part of the JSON.
    """

    attribute: str
    clean: Estimate
    corrupted: list[CorruptedAccuracy]
    samples: Pixels

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if key != "samples"}


def measure_robustness(
    attribute: str,
    pixels: Pixels,
    targets: Integers,
    predict: Predict,
    on_progress: OnProgress = lambda done, total: None,
) -> Robustness:
    """Measures the accuracy on preprocessed test photos, uint8[N,S,S,3]; calls `predict` 19 times per photo.

    `on_progress` gets the number of finished rounds and of all rounds; a round is one kind at one strength.
    """
    rounds = [(kind, strength) for kind, strengths in STRENGTHS.items() for strength in strengths]
    clean = _measure_accuracy(predict, targets, _batches(pixels))
    corrupted = []
    for done, (kind, strength) in enumerate(rounds, start=1):
        # One batch at a time: all at once would double the memory.
        photos = (corrupt(batch, kind, strength, _SEED + n, pixels) for n, batch in enumerate(_batches(pixels)))
        corrupted.append(CorruptedAccuracy(kind, strength, UNITS[kind], _measure_accuracy(predict, targets, photos)))
        on_progress(done, len(rounds))
    return Robustness(attribute, clean, corrupted, _samples(pixels))


def _batches(pixels: Pixels) -> Iterator[Pixels]:
    for start in range(0, len(pixels), _BATCH_SIZE):
        yield pixels[start : start + _BATCH_SIZE]


def _measure_accuracy(predict: Predict, targets: Integers, batches: Iterator[Pixels]) -> Estimate:
    answers = np.concatenate([predict(batch).argmax(axis=1) for batch in batches])
    return estimate_share(int((answers == targets).sum()), len(targets))


def _samples(pixels: Pixels) -> Pixels:
    first = pixels[:1]
    rows = []
    for kind, strengths in STRENGTHS.items():
        corrupted_photos = [corrupt(first, kind, strength, _SEED, pixels)[0] for strength in strengths]
        rows.append(np.stack([first[0], *corrupted_photos]))
    return np.stack(rows)
