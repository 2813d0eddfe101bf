"""Accuracy on spoilt photos: each kind of `corruptions` at three strengths."""

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
    """Attributes:
    attribute: whose answers.
    clean: accuracy on the same photos, unspoilt.
    corrupted: by kind, from mild to strong.
    samples: uint8[K,4,S,S,3]: of each kind one photo, clean and at each strength, to look at; not part of the JSON.
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
    """Asks `predict` for each photo 19 times.

    Args:
        attribute: whose answers `predict` gives.
        pixels: uint8[N,S,S,3], RGB, 0-255: test photos as the network sees them.
        targets: int64[N].
        predict: uint8[n,S,S,3] -> float32[n,C], logits or scores; called with at most 32 photos.
        photos: so many are drawn where there are more.
        seed: of the draw and of what is random in a corruption.
        on_progress: told how many of how many rounds are done.

    Raises:
        EvaluationError: photos and targets do not belong together.
    """
    if not len(pixels) or len(pixels) != len(targets) or pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise EvaluationError(
            f"{attribute}: robustness needs uint8[N,S,S,3] and a target for each; got {pixels.dtype}"
            f"{list(pixels.shape)} and {len(targets)} targets."
        )
    if len(pixels) > photos:
        drawn = np.sort(np.random.default_rng(seed).choice(len(pixels), photos, replace=False))
        pixels, targets = pixels[drawn], targets[drawn]
    rounds = [(kind, strength) for kind, strengths in STRENGTHS.items() for strength in strengths]
    clean = _judge(predict, targets, _batches(pixels))
    corrupted = []
    for done, (kind, strength) in enumerate(rounds, start=1):
        spoilt = _spoil(pixels, kind, strength, seed)
        corrupted.append(CorruptedAccuracy(kind, strength, UNITS[kind], _judge(predict, targets, spoilt)))
        if on_progress is not None:
            on_progress(done, len(rounds))
    return Robustness(attribute, clean, corrupted, _samples(pixels, seed))


def _batches(pixels: npt.NDArray[np.uint8]) -> Iterator[npt.NDArray[np.uint8]]:
    for start in range(0, len(pixels), _BATCH_SIZE):
        yield pixels[start : start + _BATCH_SIZE]


def _spoil(pixels: npt.NDArray[np.uint8], kind: str, strength: float, seed: int) -> Iterator[npt.NDArray[np.uint8]]:
    """A batch at a time: all at once would be as much memory again as the photos."""
    for number, batch in enumerate(_batches(pixels)):
        yield corrupt(batch, kind, strength, seed + number, pixels)


def _judge(predict: Predict, targets: npt.NDArray[np.int64], batches: Iterator[npt.NDArray[np.uint8]]) -> Estimate:
    answers = np.concatenate([predict(batch).argmax(axis=1) for batch in batches])
    return estimate_share(int((answers == targets).sum()), len(targets))


def _samples(pixels: npt.NDArray[np.uint8], seed: int) -> npt.NDArray[np.uint8]:
    first = pixels[:1]
    rows = []
    for kind, strengths in STRENGTHS.items():
        spoilt = [corrupt(first, kind, strength, seed, pixels)[0] for strength in strengths]
        rows.append(np.stack([first[0], *spoilt]))
    return np.stack(rows)
