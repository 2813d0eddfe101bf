"""What can be said of a head: everything that is chosen comes from validation, everything that is told from test."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from export.errors import EvaluationError
from export.evaluation.abstaining import Answered, RiskCoverage, answer_above, choose_threshold, trace_risk_coverage
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
from export.evaluation.judged import Judged
from export.evaluation.retrieval import recall_at

_MISTAKES = 48


@dataclass(frozen=True)
class Mistake:
    """A wrong answer; `score` is what the answer got, `truth_score` what the truth got."""

    photo: str
    truth: str
    answer: str
    score: float
    truth_score: float


@dataclass(frozen=True)
class Evaluation:
    """Figures of one attribute on the test photos, with what was chosen on the validation photos.

    Attributes:
        majority: the accuracy of always answering the class that the test has most of.
        macro_f1: each class counts alike; resampled interval.
        confusion: photos, rows by truth, columns by answer.
        temperature: what the logits are divided by before softmax.
        uncalibrated, calibrated: reliability before and after the temperature, on test.
        threshold: scores under it are not answered; None where no threshold is as precise on validation.
        answered_validation, answered_test: at the threshold; None without one.
        recall_at_k: of the features, each test photo looked for among the other test photos; None without features.
        mistakes: the surest first.
        mistakes_total: all wrong answers.
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
    answered_validation: Answered | None
    answered_test: Answered | None
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
    validation: Judged,
    test: Judged,
    target_precision: float = 0.95,
    seed: int = 0,
    temperature: float | None = None,
) -> Evaluation:
    """Fits temperature and threshold on `validation`, and judges the head with them on `test`.

    Args:
        validation: photos that the weights were not trained on; they may have been chosen by.
        test: photos that nothing was trained on or chosen by.
        target_precision: share of the answers above the threshold that has to be right.
        seed: of the resampled interval.
        temperature: that the head is served with; fitted on `validation` where it is left out.

    Raises:
        EvaluationError: the two are not of one head, or the precision is none.
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


def _check_pair(validation: Judged, test: Judged) -> None:
    if validation.attribute != test.attribute or validation.classes != test.classes:
        raise EvaluationError(
            f"validation is of {validation.attribute} with {len(validation.classes)} classes, test of {test.attribute} "
            f"with {len(test.classes)}; expected both from one head, its classes in one order."
        )


def _answered(scores: Scores, targets: npt.NDArray[np.int64], threshold: float | None) -> Answered | None:
    return None if threshold is None else answer_above(scores, targets, threshold)


def _worst_mistakes(test: Judged, scores: Scores) -> list[Mistake]:
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
