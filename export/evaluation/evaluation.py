"""Evaluates a head: the threshold comes from validation photos, all figures from test photos."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from export.arrays import Doubles, Integers
from export.evaluation.abstention import (
    RiskCoverage,
    ThresholdResult,
    choose_threshold,
    evaluate_threshold,
    trace_risk_coverage,
)
from export.evaluation.calibration import Reliability, measure_reliability, softmax
from export.evaluation.classes import (
    ClassFigures,
    Confusion,
    count_confusions,
    list_confusions,
    measure_classes,
    measure_macro_f1,
)
from export.evaluation.intervals import Estimate, estimate_by_resampling
from export.evaluation.predictions import Predictions
from export.evaluation.retrieval import recall_at

_MISTAKES = 48


@dataclass(frozen=True)
class Mistake:
    """A wrong prediction; `score` is that of the prediction, `truth_score` that of the true class."""

    photo: str
    truth: str
    answer: str
    score: float
    truth_score: float


@dataclass(frozen=True)
class Evaluation:
    """Figures of one attribute on the test photos, with temperature and threshold from the validation photos.

    Attributes:
        majority: accuracy of always predicting the most frequent class of the test photos.
        macro_f1: mean F1 of all classes, with a bootstrap interval.
        confusion: number of photos; rows are true classes, columns are predictions.
        temperature: divisor of the logits before softmax.
        uncalibrated, calibrated: reliability on test photos, before and after the temperature.
        threshold: lower scores are abstentions; None if no threshold reaches the target precision on validation.
        answered_validation, answered_test: precision and coverage at the threshold; None without a threshold.
        recall_at_k: Recall@k of the features among the test photos.
        mistakes: wrong predictions, the most confident first.
        mistakes_total: number of all wrong predictions.
    """

    attribute: str
    classes: tuple[str, ...]
    validation_photos: int
    test_photos: int
    accuracy: Estimate
    majority: float
    macro_f1: Estimate
    class_figures: list[ClassFigures]
    confusion: list[list[int]]
    confusions: list[Confusion]
    temperature: float
    uncalibrated: Reliability
    calibrated: Reliability
    risk_coverage: RiskCoverage
    target_precision: float
    threshold: float | None
    answered_validation: ThresholdResult | None
    answered_test: ThresholdResult | None
    recall_at_k: dict[int, Estimate]
    mistakes: list[Mistake]
    mistakes_total: int


def evaluate(
    validation: Predictions,
    test: Predictions,
    temperature: float,
    target_precision: float = 0.95,
    threshold: float | None = None,
) -> Evaluation:
    """Chooses the threshold on `validation`, and evaluates the head with it on `test`.

    Args:
        validation: predictions for photos that were not used to train weights, but may have selected settings.
        test: predictions of the same head for photos that were used neither for training nor for selection.
        temperature: of the served head; the logits do not include it.
        target_precision: required precision of predictions above the threshold, between 0 and 1.
        threshold: of a head that is trained already; None chooses it.
    """
    validation_scores, scores = softmax(validation.logits, temperature), softmax(test.logits, temperature)
    if threshold is None:
        threshold = choose_threshold(validation_scores, validation.targets, target_precision)
    targets, answers = test.targets, test.answers
    matrix = count_confusions(targets, answers, len(test.classes))
    return Evaluation(
        attribute=test.attribute,
        classes=test.classes,
        validation_photos=len(validation),
        test_photos=len(test),
        accuracy=test.accuracy,
        majority=float(np.bincount(targets).max() / len(test)),
        macro_f1=estimate_by_resampling(lambda rows: measure_macro_f1(targets[rows], answers[rows]), len(test)),
        class_figures=measure_classes(test.classes, matrix),
        confusion=matrix.tolist(),
        confusions=list_confusions(test.classes, matrix),
        temperature=temperature,
        uncalibrated=measure_reliability(test.logits, targets),
        calibrated=measure_reliability(test.logits, targets, temperature),
        risk_coverage=trace_risk_coverage(scores, targets),
        target_precision=target_precision,
        threshold=threshold,
        answered_validation=_answered(validation_scores, validation.targets, threshold),
        answered_test=_answered(scores, targets, threshold),
        recall_at_k=recall_at(test.features, targets),
        mistakes=_worst_mistakes(test, scores),
        mistakes_total=int((answers != targets).sum()),
    )


def _answered(scores: Doubles, targets: Integers, threshold: float | None) -> ThresholdResult | None:
    return None if threshold is None else evaluate_threshold(scores, targets, threshold)


def _worst_mistakes(test: Predictions, scores: Doubles) -> list[Mistake]:
    answers = test.answers
    wrong = np.flatnonzero(answers != test.targets)
    order = wrong[np.argsort(-scores[wrong, answers[wrong]], kind="stable")][:_MISTAKES]
    return [
        Mistake(
            photo=str(test.photos[row]),
            truth=test.classes[test.targets[row]],
            answer=test.classes[answers[row]],
            score=float(scores[row, answers[row]]),
            truth_score=float(scores[row, test.targets[row]]),
        )
        for row in order
    ]
