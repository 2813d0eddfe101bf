"""What a head answers for photos of one side of the split, and how often it is right.

`Answers` is what an evaluation is made of: it has the logits as they are served, so that every figure of a report is
about the head that will be placed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.evaluation.calibration import negative_log_likelihood
from export.evaluation.intervals import estimate_share
from export.training.heads import Floats, Head, Integers


@dataclass(frozen=True)
class Answers:
    """Photos with a known label of one attribute, and what the head says.

    Attributes:
        targets: int64[N].
        logits: float32[N,C].
        features: float32[N,F], as served.
    """

    attribute: str
    classes: tuple[str, ...]
    photos: tuple[Path, ...]
    targets: Integers
    logits: Floats
    features: Floats

    def figures(self) -> dict[str, Any]:
        """Accuracy with its interval, the log loss, and how many photos they are of."""
        right = self.logits.argmax(axis=1) == self.targets
        if not len(right):
            return {"photos": 0, "accuracy": None, "interval": None, "loss": None}
        accuracy = estimate_share(int(right.sum()), len(right))
        return {
            "photos": len(right),
            "accuracy": accuracy.value,
            "interval": [accuracy.low, accuracy.high],
            "loss": negative_log_likelihood(self.logits, self.targets),
        }

    def recalls(self) -> dict[str, dict[str, Any]]:
        """Class -> photos, and the share of them that are recognised."""
        right = self.logits.argmax(axis=1) == self.targets
        counts = np.bincount(self.targets, minlength=len(self.classes))
        hits = np.bincount(self.targets[right], minlength=len(self.classes))
        return {
            label: {"photos": int(count), "recall": float(hit / count) if count else None}
            for label, count, hit in zip(self.classes, counts, hits, strict=True)
        }


def answer(head: Head, photos: Sequence[Path], targets: Integers, features: Floats) -> Answers:
    """The head's logits for `features`."""
    return Answers(head.attribute, head.classes, tuple(photos), targets, head.logits(features), features)


def describe(figures: dict[str, Any]) -> str:
    """As in 0.912 (0.877 to 0.938, 341 photos)."""
    if figures["accuracy"] is None:
        return "not measured, no photos"
    low, high = figures["interval"]
    return f"{figures['accuracy']:.3f} ({low:.3f} to {high:.3f}, {figures['photos']} photos)"
