"""Figures of a head against cases worked out by hand, and against scikit-learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_recall_fscore_support

from export.errors import EvaluationError
from export.evaluation.abstention import choose_threshold, evaluate_threshold, photos_needed, trace_risk_coverage
from export.evaluation.calibration import fit_temperature, measure_reliability, softmax
from export.evaluation.classes import count_confusions, measure_classes, measure_macro_f1
from export.evaluation.evaluation import evaluate
from export.evaluation.intervals import estimate_by_resampling, estimate_share
from export.evaluation.predictions import Predictions
from export.evaluation.retrieval import recall_at

RANDOM = np.random.default_rng(9)


def judged(count: int = 400, noise: float = 1.0, seed: int = 0) -> Predictions:
    """A head of 4 classes that is right for most, with features that lie by class."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 4, count)
    logits = 3 * np.eye(4)[targets] + noise * random.normal(size=(count, 4))
    features = np.eye(8)[targets] + 0.2 * random.normal(size=(count, 8))
    photos = tuple(Path(f"{number}.jpg") for number in range(count))
    return Predictions("kind", tuple("abcd"), photos, targets, logits.astype(np.float32), features.astype(np.float32))


def test_calibration_error_is_the_gap_between_sure_and_right() -> None:
    # Four answers at 0.8, three right: |0.8 - 0.75|; four at 0.6, one right: |0.6 - 0.25|; each half of the photos.
    scores = np.array([[0.8, 0.2]] * 4 + [[0.6, 0.4]] * 4)
    targets = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    found = measure_reliability(np.log(scores), targets)
    assert found.ece == pytest.approx((0.05 + 0.35) / 2)
    # Of 15 bins: 0.6 is the upper edge of bin 8, 0.8 that of bin 11.
    assert (found.counts[11], found.counts[8], sum(found.counts)) == (4, 4, 8)
    assert found.accuracies[11] == pytest.approx(0.75)
    assert found.accuracies[0] is None
    brier = np.mean([0.08] * 3 + [1.28] + [0.32] + [0.72] * 3)
    assert found.brier == pytest.approx(brier)


def test_temperature_undoes_a_scaling_and_changes_no_answer() -> None:
    logits = RANDOM.normal(size=(4000, 5)) * 2
    scores = softmax(logits)
    targets = np.array([RANDOM.choice(5, p=row) for row in scores])
    # 4,000 draws fix the temperature to some 3 %.
    assert fit_temperature(logits, targets) == pytest.approx(1, rel=0.06)
    assert fit_temperature(3 * logits, targets) == pytest.approx(3, rel=0.06)
    assert fit_temperature(np.eye(3) * 5, np.arange(3)) == 1.0


def test_classes_are_measured_as_scikit_learn_does() -> None:
    targets, answers = RANDOM.integers(0, 5, 200), RANDOM.integers(0, 4, 200)
    rows = measure_classes(list("abcde"), count_confusions(targets, answers, 5))
    precision, recall, f1, support = precision_recall_fscore_support(targets, answers, labels=range(5), zero_division=0)
    assert [row.precision or 0 for row in rows] == pytest.approx(precision)
    assert [row.recall for row in rows] == pytest.approx(recall)
    assert [row.f1 for row in rows] == pytest.approx(f1)
    assert [row.support for row in rows] == support.tolist()
    assert rows[4].precision is None
    assert measure_macro_f1(targets, answers) == pytest.approx(f1_score(targets, answers, average="macro"))


def test_threshold_is_the_lowest_whose_answers_are_right_often_enough() -> None:
    confidence = np.linspace(0.99, 0.5, 50)
    scores = np.stack([confidence, 1 - confidence], axis=1)
    targets = np.zeros(50, np.int64)
    targets[[30, 40, 41, 42, 43]] = 1  # answers 0 to 40 have two wrong ones: 39 of 41
    threshold = choose_threshold(scores, targets, 0.95)
    assert threshold == pytest.approx(confidence[40])
    assert threshold is not None
    answered = evaluate_threshold(scores, targets, threshold)
    assert answered.coverage == pytest.approx(41 / 50)
    assert answered.precision.value == pytest.approx(39 / 41)
    assert choose_threshold(scores, np.ones(50, np.int64), 0.95) is None
    # Nine right answers do not show 0.95.
    assert choose_threshold(scores[:9], targets[:9], 0.95) is None
    assert photos_needed(0.95) == 20


def test_threshold_rises_with_the_precision_asked_for() -> None:
    one = judged(2000, noise=2.0)
    scores = softmax(one.logits)
    thresholds = [choose_threshold(scores, one.targets, precision) or 0.0 for precision in (0.8, 0.9, 0.95, 0.98)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] < thresholds[-1]


def test_risk_is_that_of_the_surest() -> None:
    scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]])
    curve = trace_risk_coverage(scores, np.array([0, 0, 1, 0]))
    assert curve.coverage == [0.25, 0.5, 0.75, 1.0]
    assert curve.risk == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert curve.area == pytest.approx((1 / 3 + 1 / 4) / 4)


def test_recall_leaves_the_photo_itself_out_and_classes_of_one() -> None:
    features = np.array([[1, 0], [0.99, 0.1], [0, 1], [0.1, 0.99], [1, 1]], np.float32)
    found = recall_at(features, np.array([0, 1, 1, 1, 2]), ks=(1, 2))
    # The one of class 2 and the one of class 0 cannot be found. Of class 1: nearest to row 1 is row 0, then 4;
    # rows 2 and 3 are nearest to each other.
    assert found[1].photos == 3
    assert found[1].value == pytest.approx(2 / 3)


def test_intervals_hold_the_share_and_narrow_with_photos() -> None:
    few, many = estimate_share(9, 10), estimate_share(900, 1000)
    # Wilson, 95 %, from the formula.
    assert (few.low, few.high) == pytest.approx((0.5958, 0.9821), abs=1e-3)
    assert many.low is not None
    assert few.low is not None
    assert many.low > few.low
    assert estimate_share(0, 0).value is None
    drawn = estimate_by_resampling(lambda rows: float(rows.mean()), 100)
    assert drawn.value == pytest.approx(49.5)
    assert drawn.low is not None
    assert drawn.high is not None
    assert drawn.low < 49.5 < drawn.high


def test_evaluation_chooses_on_validation_and_tells_of_test() -> None:
    validation, test = judged(seed=1), judged(seed=2)
    temperature = fit_temperature(validation.logits, validation.targets)
    found = evaluate(validation, test, temperature)
    assert found.accuracy.value == pytest.approx((test.logits.argmax(1) == test.targets).mean())
    assert found.calibrated.nll <= found.uncalibrated.nll + 0.01
    assert found.threshold is not None
    assert found.answered_validation is not None
    assert found.answered_validation.precision.value is not None
    assert found.answered_validation.precision.value >= 0.95
    assert found.recall_at_k[1].value is not None
    assert found.recall_at_k[1].value > 0.9
    assert found.mistakes_total == round((1 - (found.accuracy.value or 0)) * 400)
    assert all(mistake.truth != mistake.answer for mistake in found.mistakes)
    scores = [mistake.score for mistake in found.mistakes]
    assert scores == sorted(scores, reverse=True)
    # Another temperature: another threshold, the same accuracy.
    other = evaluate(validation, test, 2 * temperature)
    assert other.accuracy == found.accuracy
    assert other.threshold != found.threshold
    # The temperature that a head is served with is not fitted again.
    assert evaluate(validation, test, 1.0).calibrated == found.uncalibrated


@pytest.mark.parametrize("name", ["logits", "features"])
def test_predictions_are_refused_when_an_array_is_not_finite(name: str) -> None:
    with pytest.raises(EvaluationError, match=f"got {name} that are not finite"):
        replace(judged(), **{name: np.full((400, 4), np.nan, np.float32)})  # type: ignore[arg-type]


def test_confusions_of_no_photo_are_zeros() -> None:
    none = np.zeros(0, np.int64)
    matrix = count_confusions(none, none, 3)
    assert matrix.shape == (3, 3)
    assert not matrix.any()
    assert [row.support for row in measure_classes(list("abc"), matrix)] == [0, 0, 0]
