"""Predictions to evaluate: photos with their true classes and the logits of a head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.errors import EvaluationError


@dataclass(frozen=True)
class LabelledPredictions:
    """Predictions for one attribute of one split; the caller leaves out rows without a label.

    Attributes:
        attribute: `category`, `brand`, ...
        classes: class names by index.
        photos: path of each row, for the contact sheet; read only when a report is written.
        targets: int64[N], indices into `classes`.
        logits: float32[N,C], before softmax and temperature.
        features: float32[N,F], for Recall@k; None if not available.

    Raises:
        EvaluationError: the arrays do not match each other.
    """

    attribute: str
    classes: list[str]
    photos: list[Path]
    targets: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    features: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        rows, width = len(self.targets), len(self.classes)
        if rows == 0:
            raise self._refusal("no rows", "at least one labelled photo")
        if width < 2:
            raise self._refusal(f"{width} class(es): {self.classes}", "two or more classes")
        if len(set(self.classes)) != width:
            raise self._refusal("repeated class names", "each class once")
        if self.logits.shape != (rows, width):
            raise self._refusal(f"logits of shape {self.logits.shape}", f"({rows}, {width}): rows x classes")
        if len(self.photos) != rows:
            raise self._refusal(f"{len(self.photos)} photos", f"{rows}, one for each target")
        if self.targets.min() < 0 or self.targets.max() >= width:
            found = f"targets from {self.targets.min()} to {self.targets.max()}"
            raise self._refusal(found, f"0 to {width - 1}; leave rows without a label out")
        if self.features is not None and (self.features.ndim != 2 or len(self.features) != rows):
            raise self._refusal(f"features of shape {self.features.shape}", f"({rows}, F)")
        for name, array in (("logits", self.logits), ("features", self.features)):
            if array is not None and not np.isfinite(array).all():
                raise self._refusal(
                    f"{name} that are not finite", "finite values, from a head whose training did not diverge"
                )

    def __len__(self) -> int:
        return len(self.targets)

    def _refusal(self, found: str, expected: str) -> EvaluationError:
        return EvaluationError(f"{self.attribute}: cannot be evaluated: got {found}; expected {expected}.")
