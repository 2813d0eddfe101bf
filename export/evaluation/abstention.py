"""Abstention: the risk-coverage curve, and the score threshold for a target precision."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from export.arrays import Doubles, Integers
from export.evaluation.intervals import Estimate, estimate_share

_POINTS = 200


@dataclass(frozen=True)
class ThresholdResult:
    """Precision and coverage of the predictions whose score reaches a threshold."""

    precision: Estimate
    coverage: float


@dataclass(frozen=True)
class RiskCoverage:
    """Risk (error rate) of the most confident predictions at each coverage, and the area under that curve."""

    coverage: list[float]
    risk: list[float]
    area: float


def evaluate_threshold(scores: Doubles, targets: Integers, threshold: float) -> ThresholdResult:
    """Precision and coverage of calibrated scores, float64[N,C], whose best one reaches the threshold."""
    answered = scores.max(axis=1) >= threshold
    right = scores.argmax(axis=1) == targets
    return ThresholdResult(estimate_share(int(right[answered].sum()), int(answered.sum())), float(answered.mean()))


def photos_needed(target_precision: float) -> int:
    """Minimum number of predictions to show a precision: with fewer, one error already misses it."""
    return math.ceil(round(1 / (1 - target_precision), 9))


def choose_threshold(scores: Doubles, targets: Integers, target_precision: float) -> float | None:
    """The lowest threshold that reaches the target precision on the given photos; None if there is none.

    At least `photos_needed` predictions must reach the threshold, so that few lucky ones do not determine it. The
    scores, float64[N,C], are calibrated.
    """
    needed = photos_needed(target_precision)
    confidence, precision = _precision_by_rank(scores, targets)
    # Photos with equal scores are on the same side of the threshold.
    is_cut = np.append(confidence[1:] < confidence[:-1], True)
    # 1e-9: 19 of 20 must count as 0.95 despite rounding.
    fits = is_cut & (precision >= target_precision - 1e-9) & (np.arange(1, len(targets) + 1) >= needed)
    return float(confidence[np.flatnonzero(fits)[-1]]) if fits.any() else None


def trace_risk_coverage(scores: Doubles, targets: Integers) -> RiskCoverage:
    """About 200 points of the curve at most, the last at full coverage; the area uses all points."""
    _, precision = _precision_by_rank(scores, targets)
    rows = len(targets)
    kept = np.unique(np.linspace(0, rows - 1, min(rows, _POINTS)).round().astype(int))
    risk = 1 - precision
    return RiskCoverage(
        coverage=[float((index + 1) / rows) for index in kept],
        risk=[float(value) for value in risk[kept]],
        area=float(risk.mean()),
    )


def _precision_by_rank(scores: Doubles, targets: Integers) -> tuple[Doubles, Doubles]:
    """Best scores in descending order, and the precision of the predictions down to each."""
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == targets
    order = np.argsort(-confidence, kind="stable")
    return confidence[order], np.cumsum(right[order]) / np.arange(1, len(targets) + 1)
