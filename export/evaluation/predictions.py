"""Predictions to evaluate: photos with their true classes and the logits of a head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.arrays import Floats, Integers
from export.errors import EvaluationError
from export.evaluation.calibration import negative_log_likelihood
from export.evaluation.classes import count_confusions, measure_classes
from export.evaluation.intervals import Estimate, estimate_share


@dataclass(frozen=True)
class Predictions:
    """Predictions for the photos of one split with a known label of one attribute.

    Attributes:
        classes: class names by index, two or more.
        photos: path of each row, for the contact sheet.
        targets: int64[N], indices into `classes`.
        logits: float32[N,C], before softmax.
        features: float32[N,F], as served.

    Raises:
        EvaluationError: an array has a value that is not finite.
    """

    attribute: str
    classes: tuple[str, ...]
    photos: tuple[Path, ...]
    targets: Integers
    logits: Floats
    features: Floats

    def __post_init__(self) -> None:
        for name, array in (("logits", self.logits), ("features", self.features)):
            if not np.isfinite(array).all():
                raise EvaluationError(
                    f"{self.attribute}: cannot be evaluated: got {name} that are not finite; expected finite values, "
                    "from a head whose training did not diverge."
                )

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def answers(self) -> Integers:
        """int64[N], the best class of each row."""
        answers: Integers = self.logits.argmax(axis=1)
        return answers

    @property
    def accuracy(self) -> Estimate:
        return estimate_share(int((self.answers == self.targets).sum()), len(self))

    def figures(self) -> dict[str, Any]:
        """Number of photos, accuracy with its interval, and log loss, as in `metrics.json`."""
        if not len(self):
            return {"photos": 0, "accuracy": None, "interval": None, "loss": None}
        accuracy, loss = self.accuracy, negative_log_likelihood(self.logits, self.targets)
        return {
            "photos": len(self),
            "accuracy": accuracy.value,
            "interval": [accuracy.low, accuracy.high],
            "loss": loss,
        }

    def recalls(self) -> dict[str, dict[str, Any]]:
        """Class -> number of photos, and recall."""
        matrix = count_confusions(self.targets, self.answers, len(self.classes))
        rows = measure_classes(self.classes, matrix)
        return {row.name: {"photos": row.support, "recall": row.recall} for row in rows}
