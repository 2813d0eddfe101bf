"""Answering only what is sure enough: the risk-coverage curve and the threshold for a chosen precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.errors import EvaluationError
from export.evaluation.calibration import Scores
from export.evaluation.intervals import Estimate, estimate_share

_POINTS = 200


@dataclass(frozen=True)
class Answered:
    """What is left when scores under a threshold are not answered: precision of it, and how much it is."""

    precision: Estimate
    coverage: float


@dataclass(frozen=True)
class RiskCoverage:
    """The share of wrong answers among the surest `coverage` of the photos, and the area under that curve."""

    coverage: list[float]
    risk: list[float]
    area: float


def answer_above(scores: Scores, targets: npt.NDArray[np.int64], threshold: float) -> Answered:
    """Args:
    scores: float64[N,C], calibrated.
    targets: int64[N].
    threshold: a best score of this or more is answered.
    """
    answered = scores.max(axis=1) >= threshold
    right = scores.argmax(axis=1) == targets
    return Answered(estimate_share(int(right[answered].sum()), int(answered.sum())), float(answered.mean()))


def photos_needed(target_precision: float) -> int:
    """How many answers a precision takes to be seen at all: one wrong among fewer would already miss it.

    Raises:
        EvaluationError: not a precision that can be asked for.
    """
    if not 0.0 < target_precision < 1.0:
        raise EvaluationError(
            f"A target precision of {target_precision} cannot be shown on photos; expected more than 0, less than 1."
        )
    return math.ceil(round(1 / (1 - target_precision), 9))


def choose_threshold(scores: Scores, targets: npt.NDArray[np.int64], target_precision: float) -> float | None:
    """The lowest threshold whose answers are right often enough, on the photos given; None where there is none.

    It answers at least `photos_needed`, so that a handful of lucky ones does not decide.

    Args:
        scores: float64[N,C], calibrated.
        targets: int64[N].
        target_precision: share of the answers that has to be right.

    Raises:
        EvaluationError: not a precision that can be asked for.
    """
    needed = photos_needed(target_precision)
    confidence, precision = _precision_by_rank(scores, targets)
    # Photos of one score are answered together or not at all.
    is_cut = np.append(confidence[1:] < confidence[:-1], True)
    # 1e-9: 19 of 20 are 0.95, whatever the last bit says.
    fits = is_cut & (precision >= target_precision - 1e-9) & (np.arange(1, len(targets) + 1) >= needed)
    return float(confidence[np.flatnonzero(fits)[-1]]) if fits.any() else None


def trace_risk_coverage(scores: Scores, targets: npt.NDArray[np.int64]) -> RiskCoverage:
    """At most some 200 points of the curve, the last at full coverage; the area is of all."""
    _, precision = _precision_by_rank(scores, targets)
    rows = len(targets)
    kept = np.unique(np.linspace(0, rows - 1, min(rows, _POINTS)).round().astype(int))
    risk = 1 - precision
    return RiskCoverage(
        coverage=[float((index + 1) / rows) for index in kept],
        risk=[float(value) for value in risk[kept]],
        area=float(risk.mean()),
    )


def _precision_by_rank(scores: Scores, targets: npt.NDArray[np.int64]) -> tuple[Scores, Scores]:
    """Best scores, falling, and the precision of the answers down to each."""
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == targets
    order = np.argsort(-confidence, kind="stable")
    return confidence[order], np.cumsum(right[order]) / np.arange(1, len(targets) + 1)
