"""Evaluates a head: temperature and threshold come from validation photos, all figures from test photos."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import EvaluationError
from export.evaluation.abstention import (
    RiskCoverage,
    ThresholdResult,
    choose_threshold,
    evaluate_threshold,
    trace_risk_coverage,
)
from export.evaluation.calibration import Reliability, Scores, fit_temperature, measure_reliability, softmax
from export.evaluation.classes import (
    ClassFigures,
    Confusion,
    count_confusions,
    list_confusions,
    measure_classes,
    measure_macro_f1,
)
from export.evaluation.intervals import Estimate, estimate_by_resampling, estimate_share
from export.evaluation.predictions import LabelledPredictions
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
        recall_at_k: Recall@k of the features among the test photos; None without features.
        mistakes: wrong predictions, the most confident first.
        mistakes_total: number of all wrong predictions.
    """

    attribute: str
    classes: list[str]
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
    recall_at_k: dict[int, Estimate] | None
    mistakes: list[Mistake]
    mistakes_total: int
    seed: int

    def to_json(self) -> dict[str, Any]:
        """Plain data for `json.dumps`; keys of `recall_at_k` become strings."""
        plain = asdict(self)
        if self.recall_at_k is not None:
            plain["recall_at_k"] = {str(k): asdict(estimate) for k, estimate in self.recall_at_k.items()}
        return plain


def evaluate(
    validation: LabelledPredictions,
    test: LabelledPredictions,
    target_precision: float = 0.95,
    seed: int = 0,
    temperature: float | None = None,
) -> Evaluation:
    """Fits temperature and threshold on `validation`, and evaluates the head with them on `test`.

    Args:
        validation: predictions for photos that were not used to train weights, but may have selected settings.
        test: predictions for photos that were used neither for training nor for selection.
        target_precision: required precision of predictions above the threshold.
        seed: of the bootstrap interval.
        temperature: temperature of the served head; None fits it on `validation`.

    Raises:
        EvaluationError: the predictions are not of one head, or the precision is not between 0 and 1.
    """
    _check_pair(validation, test)
    if temperature is None:
        temperature = fit_temperature(validation.logits, validation.targets)
    validation_scores, scores = softmax(validation.logits, temperature), softmax(test.logits, temperature)
    threshold = choose_threshold(validation_scores, validation.targets, target_precision)
    targets, answers = test.targets, scores.argmax(axis=1)
    matrix = count_confusions(targets, answers, len(test.classes))
    wrong = int((answers != targets).sum())
    return Evaluation(
        attribute=test.attribute,
        classes=test.classes,
        validation_photos=len(validation),
        test_photos=len(test),
        accuracy=estimate_share(len(test) - wrong, len(test)),
        majority=float(np.bincount(targets).max() / len(test)),
        macro_f1=estimate_by_resampling(lambda rows: measure_macro_f1(targets[rows], answers[rows]), len(test), seed),
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
        recall_at_k=None if test.features is None else recall_at(test.features, targets),
        mistakes=_worst_mistakes(test, scores),
        mistakes_total=wrong,
        seed=seed,
    )


def _check_pair(validation: LabelledPredictions, test: LabelledPredictions) -> None:
    if validation.attribute != test.attribute or validation.classes != test.classes:
        raise EvaluationError(
            f"The validation predictions are for {validation.attribute} with {len(validation.classes)} classes, the "
            f"test predictions for {test.attribute} with {len(test.classes)}; expected both from one head, with the "
            "same order of classes."
        )


def _answered(scores: Scores, targets: npt.NDArray[np.int64], threshold: float | None) -> ThresholdResult | None:
    return None if threshold is None else evaluate_threshold(scores, targets, threshold)


def _worst_mistakes(test: LabelledPredictions, scores: Scores) -> list[Mistake]:
    answers = scores.argmax(axis=1)
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
