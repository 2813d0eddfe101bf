"""Predictions of a head for the photos of one split, and their accuracy.

`Predictions` has the logits of the served head, so that every figure of the report is valid for the placed head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.evaluation.calibration import negative_log_likelihood
from export.evaluation.intervals import estimate_share
from export.training.heads.fitting import Floats, Head, Integers


@dataclass(frozen=True)
class Predictions:
    """Photos with a known label of one attribute, and the logits of the head.

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
        """Number of photos, accuracy with its interval, and log loss."""
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
        """Class -> number of photos, and recall."""
        right = self.logits.argmax(axis=1) == self.targets
        counts = np.bincount(self.targets, minlength=len(self.classes))
        hits = np.bincount(self.targets[right], minlength=len(self.classes))
        return {
            label: {"photos": int(count), "recall": float(hit / count) if count else None}
            for label, count, hit in zip(self.classes, counts, hits, strict=True)
        }


def predict(head: Head, photos: Sequence[Path], targets: Integers, features: Floats) -> Predictions:
    """Applies the head to `features`."""
    return Predictions(head.attribute, head.classes, tuple(photos), targets, head.logits(features), features)


def describe_accuracy(figures: dict[str, Any]) -> str:
    """Text such as 0.912 (0.877 to 0.938, 341 photos)."""
    if figures["accuracy"] is None:
        return "not measured (no photos)"
    low, high = figures["interval"]
    return f"{figures['accuracy']:.3f} ({low:.3f} to {high:.3f}, {figures['photos']} photos)"
