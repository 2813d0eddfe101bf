from __future__ import annotations

import numpy as np
import pytest

from export.evaluation.calibration import fit_temperature, negative_log_likelihood
from export.evaluation.intervals import estimate_share
from export.evaluation.predictions import Predictions
from export.training.heads.fitting import Examples, Head, calibrate, fit_head

FEATURES = 24


def make_examples(count: int, classes: int, noise: float, seed: int, views: int = 2) -> Examples:
    """Classes around fixed directions, features far from standardised."""
    centres = np.random.default_rng(99).normal(size=(classes, FEATURES))
    random = np.random.default_rng(seed)
    targets = random.integers(classes, size=count)
    views_ = centres[targets][:, None] + random.normal(scale=noise, size=(count, views, FEATURES))
    return Examples((views_ * 3 + 5).astype(np.float32), targets)


@pytest.mark.parametrize("classes", [2, 5])
def test_head_tells_classes_apart_on_raw_features(classes: int) -> None:
    train, validation = make_examples(200, classes, 0.8, 0), make_examples(100, classes, 0.8, 1)
    head, search = fit_head("brand", [str(n) for n in range(classes)], train, validation, 600, trials=3)
    assert head.weight.shape == (classes, FEATURES)
    # The standardisation is folded in: raw features go in.
    accuracy = (head.logits(validation.views[:, 0]).argmax(axis=1) == validation.targets).mean()
    assert accuracy > 0.95
    assert search.best["accuracy"] == pytest.approx(accuracy)
    assert len(search.trials) == 3


def test_head_is_calibrated_on_validation() -> None:
    train, validation = make_examples(60, 4, 3.5, 0), make_examples(400, 4, 3.5, 1)
    head, _ = fit_head("brand", list("abcd"), train, validation, 600, trials=3)
    temperature = fit_temperature(head.logits(validation.views[:, 0]), validation.targets)
    # The bounded search ends at 1e-5 of the logarithm; the head is float32.
    assert temperature == pytest.approx(1, abs=0.03)
    assert head.temperature != 1


def test_temperature_undoes_logits_that_are_too_sure() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(5000, 3)).astype(np.float32)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    targets = np.array([random.choice(3, p=row) for row in chances])
    temperature = fit_temperature(3 * logits, targets)
    loss = negative_log_likelihood(3 * logits / temperature, targets)
    # 5,000 draws leave some percent of doubt about the scale.
    assert temperature == pytest.approx(3, rel=0.08)
    assert loss < negative_log_likelihood(3 * logits, targets)


def test_head_stays_as_it_is_when_validation_is_too_small_to_calibrate() -> None:
    head = Head("brand", ("a", "b"), np.eye(2, FEATURES, dtype=np.float32), np.zeros(2, np.float32))
    assert calibrate(head, make_examples(10, 2, 1.0, 0)) is head


def test_head_weighs_rare_classes_up_when_balanced() -> None:
    from export.training.heads.fitting import _Fit

    random = np.random.default_rng(0)
    targets = np.array([0] * 190 + [1] * 10)
    views = (random.normal(size=(200, 1, FEATURES)) + targets[:, None, None] * 0.3).astype(np.float32)
    problem = _Fit("brand", ("common", "rare"), Examples(views, targets))
    plain, balanced = (
        problem.fit(1.0, is_balanced).logits(views[:, 0]).argmax(axis=1) for is_balanced in (False, True)
    )
    assert (balanced[targets == 1] == 1).sum() > (plain[targets == 1] == 1).sum()


def test_answers_have_figures_with_an_interval_and_recalls() -> None:
    head = Head("brand", ("a", "b"), np.eye(2, 3, dtype=np.float32), np.zeros(2, np.float32))
    features = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0], [1, 0, 0]], np.float32)
    answers = Predictions("brand", head.classes, (), np.array([0, 1, 1, 0]), head.logits(features), features)
    figures = answers.figures()
    assert figures["accuracy"] == 0.75
    low, high = figures["interval"]
    # Wilson, by hand: (p + z²/2n ± z sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = 0.75, n = 4, z = 1.96.
    assert (low, high) == (pytest.approx(0.3006, abs=1e-3), pytest.approx(0.9544, abs=1e-3))
    assert answers.recalls()["b"] == {"photos": 2, "recall": 0.5}
    assert estimate_share(0, 10).low == 0
