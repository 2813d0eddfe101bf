"""Fits linear heads on frozen features: multinomial logistic regression, regularisation chosen on validation photos.

Owns the fit, the hyperparameter search (Optuna) and the temperature. A head is one matrix and one bias that include
standardisation and temperature, so that softmax(features @ weight.T + bias) is calibrated.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from export.arrays import Doubles, Floats, Integers
from export.evaluation.calibration import fit_temperature, negative_log_likelihood

# Inverse regularisation strength on standardised features, relative to the mean loss per photo.
STRENGTHS = (0.3, 1e4)
FIRST_STRENGTH = 20.0

# Minimum number of validation photos to fit a temperature; with fewer, single photos would determine it.
MIN_TO_CALIBRATE = 30

_MAX_ITERATIONS = 200
_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Head:
    """A linear layer.

    Attributes:
        classes: label of each row of `weight`, in the order of the scores.
        weight: float32[C,F].
        bias: float32[C].
        temperature: divisor of the logits; already included in `weight` and `bias`.
    """

    attribute: str
    classes: tuple[str, ...]
    weight: Floats
    bias: Floats
    temperature: float = 1.0

    def logits(self, features: Floats) -> Floats:
        """float32[N,F] -> float32[N,C]."""
        return features @ self.weight.T + self.bias


@dataclass(frozen=True)
class Examples:
    """Photos with a known label.

    Attributes:
        views: float32[N,V,F]; view 0 is the served one.
        targets: int64[N], index of the label in the classes.
        weights: float32[N], weight of each photo; None is 1 each.
    """

    views: Floats
    targets: Integers
    weights: Floats | None = None


@dataclass(frozen=True)
class Search:
    """Result of the hyperparameter search.

    Attributes:
        trials: strength, class balancing, validation accuracy and loss, in order.
    """

    best: dict[str, Any]
    trials: tuple[dict[str, Any], ...]
    seconds: float


def fit_head(
    attribute: str,
    classes: Sequence[str],
    train: Examples,
    validation: Examples,
    budget_s: float,
    trials: int = 12,
    seed: int = 0,
) -> tuple[Head, Search]:
    """The head with the least validation loss; the first one if there are no validation photos."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    problem = _Fit(attribute, tuple(classes), train)
    tried: list[tuple[dict[str, Any], Head]] = []

    def attempt(trial: optuna.Trial) -> float:
        strength = trial.suggest_float("strength", *STRENGTHS, log=True)
        is_balanced = trial.suggest_categorical("is_balanced", [False, True])
        head = problem.fit(strength, is_balanced)
        figures = {"strength": strength, "is_balanced": is_balanced, **_measure(head, validation)}
        tried.append((figures, head))
        return float(figures["loss"])

    started = time.monotonic()
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, n_startup_trials=6))
    for is_balanced in (False, True):
        study.enqueue_trial({"strength": FIRST_STRENGTH, "is_balanced": is_balanced})
    is_searched = len(validation.targets) > 0
    # The time budget ends the search; it does not interrupt a fit.
    study.optimize(attempt, n_trials=trials if is_searched else 1, timeout=budget_s)
    figures, head = min(tried, key=lambda one: (one[0]["loss"], -one[0]["accuracy"]))
    head = calibrate(head, validation)
    return head, Search(figures, tuple(one for one, _ in tried), time.monotonic() - started)


class _Fit:
    """Fits on the photos of one attribute, standardised once; each fit starts from the previous solution."""

    def __init__(self, attribute: str, classes: tuple[str, ...], train: Examples) -> None:
        self._attribute, self._classes, self._train = attribute, classes, train
        self._views = train.views.shape[1]
        flat = train.views.reshape(-1, train.views.shape[-1])
        self._mean, self._std = flat.mean(axis=0), flat.std(axis=0) + 1e-6
        self._inputs = (flat - self._mean) / self._std
        self._targets = np.repeat(train.targets, self._views)
        self._start: tuple[Floats, Floats] | None = None

    def fit(self, strength: float, is_balanced: bool) -> Head:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        # Views share the weight of their photo, so that more views do not weaken the regularisation.
        weights = self._weights(is_balanced) / len(self._train.targets)
        model = LogisticRegression(C=strength, max_iter=_MAX_ITERATIONS, tol=_TOLERANCE / 10, warm_start=True)
        if self._start is not None:
            model.coef_, model.intercept_ = (part.copy() for part in self._start)
            model.classes_ = np.unique(self._targets)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 200 iterations from a warm start are accurate enough
            model.fit(self._inputs, self._targets, sample_weight=np.repeat(weights, self._views))
        self._start = model.coef_, model.intercept_
        return self._fold(model)

    def _weights(self, is_balanced: bool) -> Doubles:
        given = self._train.weights
        weights = np.ones(len(self._train.targets)) if given is None else given.astype(np.float64)
        if is_balanced:
            weights = weights / np.bincount(self._train.targets)[self._train.targets]
        scaled: Doubles = weights * (len(weights) / weights.sum() / self._views)
        return scaled

    def _fold(self, model: Any) -> Head:
        coefficients, intercept = model.coef_, model.intercept_
        if len(model.classes_) == 2:  # scikit-learn stores one row for two classes
            coefficients, intercept = (
                np.concatenate([-coefficients, coefficients]) / 2,
                np.array([-1, 1]) * intercept / 2,
            )
        weight = np.ascontiguousarray(coefficients / self._std, np.float32)
        bias = (intercept - (coefficients / self._std) @ self._mean).astype(np.float32)
        return Head(self._attribute, self._classes, weight, bias)


def _measure(head: Head, validation: Examples) -> dict[str, float]:
    """Validation accuracy, and the loss at the best temperature, as served; zeros without photos."""
    if not len(validation.targets):
        return {"accuracy": 0.0, "loss": 0.0}
    logits = head.logits(validation.views[:, 0])
    temperature = fit_temperature(logits, validation.targets) if len(logits) >= MIN_TO_CALIBRATE else 1.0
    loss = negative_log_likelihood(logits / temperature, validation.targets)
    return {"accuracy": float((logits.argmax(axis=1) == validation.targets).mean()), "loss": loss}


def calibrate(head: Head, validation: Examples) -> Head:
    """Includes the temperature of the validation photos in the head; unchanged if there are too few photos."""
    if len(validation.targets) < MIN_TO_CALIBRATE:
        return head
    temperature = fit_temperature(head.logits(validation.views[:, 0]), validation.targets)
    scaled = np.float32(1 / temperature)
    return replace(head, weight=head.weight * scaled, bias=head.bias * scaled, temperature=temperature)
