"""Calibration of scores: softmax, temperature scaling, reliability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.special import softmax as _softmax

from export.arrays import AnyFloats, Doubles, Integers

# Source: Guo et al., On Calibration of Modern Neural Networks, 2017.
BINS = 15

# Temperatures outside these bounds indicate a broken head.
_LOG_TEMPERATURES = (np.log(0.02), np.log(50.0))


def softmax(logits: AnyFloats, temperature: float = 1.0) -> Doubles:
    """Returns float64[N,C]."""
    scores: Doubles = _softmax(logits.astype(np.float64) / temperature, axis=1)
    return scores


def fit_temperature(logits: AnyFloats, targets: Integers) -> float:
    """The T that maximises the likelihood of softmax(logits / T); it changes scores, but not the best class.

    T > 1 means that the head was overconfident. Returns 1 if all predictions are correct: the likelihood then grows
    without bound as T falls.
    """
    logits = logits.astype(np.float64)
    if (logits.argmax(axis=1) == targets).all():
        return 1.0

    def loss(log_temperature: float) -> float:
        return negative_log_likelihood(logits / np.exp(log_temperature), targets)

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded", options={"xatol": 1e-5})
    return float(np.exp(found.x))


def negative_log_likelihood(logits: AnyFloats, targets: Integers) -> float:
    """Mean over rows, nats."""
    logs = log_softmax(logits.astype(np.float64), axis=1)
    return float(-logs[np.arange(len(targets)), targets].mean())


@dataclass(frozen=True)
class Reliability:
    """Confidence and accuracy in bins of equal width.

    Attributes:
        ece: expected calibration error: mean gap between the two, weighted by the photos of a bin.
        nll: negative log likelihood, nats.
        brier: mean squared distance between the scores and the truth, 0 to 2.
        counts, confidences, accuracies: one value per bin; None in a bin without photos.
    """

    ece: float
    nll: float
    brier: float
    counts: list[int]
    confidences: list[float | None]
    accuracies: list[float | None]


def measure_reliability(logits: AnyFloats, targets: Integers, temperature: float = 1.0) -> Reliability:
    """Reliability of the best class of each row."""
    scores = softmax(logits, temperature)
    confidence, right = scores.max(axis=1), scores.argmax(axis=1) == targets
    # A score on an edge belongs to the bin below, as in the source; 1.0 is therefore in the last bin.
    index = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(index, minlength=BINS)
    summed_confidence = np.bincount(index, confidence, BINS)
    summed_right = np.bincount(index, right, BINS)
    truth = np.eye(scores.shape[1])[targets]
    return Reliability(
        ece=float(np.abs(summed_confidence - summed_right).sum() / len(targets)),
        nll=negative_log_likelihood(logits / temperature, targets),
        brier=float(((scores - truth) ** 2).sum(axis=1).mean()),
        counts=[int(count) for count in counts],
        confidences=_means(summed_confidence, counts),
        accuracies=_means(summed_right, counts),
    )


def _means(sums: Any, counts: Integers) -> list[float | None]:
    return [float(total / count) if count else None for total, count in zip(sums, counts, strict=True)]
