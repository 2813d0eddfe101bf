"""What the report says of the threshold is what the served head does with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from rich.console import Console

from export.evaluation.abstention import evaluate_threshold
from export.evaluation.calibration import softmax
from export.evaluation.predictions import Predictions
from export.training.heads.fitting import MIN_TO_CALIBRATE, Examples, fit_head
from export.training.reporting import Measured, make_report

CLASSES = ("a", "b", "c", "d")


def clouds(count: int, seed: int) -> tuple[Any, Any]:
    """float32[N,6] around 4 axes that overlap, and which."""
    random = np.random.default_rng(seed)
    targets = random.integers(0, 4, count)
    return (np.eye(6)[targets] + 0.45 * random.normal(size=(count, 6))).astype(np.float32), targets


@pytest.mark.parametrize("photos", [MIN_TO_CALIBRATE - 2, 200])
def test_report_tells_what_is_answered_as_served_when_validation_is_small_or_large(photos: int) -> None:
    (features, targets), (seen, validation), (unseen, test) = clouds(120, 1), clouds(photos, 2), clouds(400, 3)
    head, _ = fit_head(
        "kind", CLASSES, Examples(features[:, None], targets), Examples(seen[:, None], validation), 60, trials=3
    )
    gone = (Path("gone.jpg"),)
    first = Predictions("kind", CLASSES, gone * photos, validation, head.logits(seen), seen)
    second = Predictions("kind", CLASSES, gone * len(test), test, head.logits(unseen), unseen)
    # No photo is there, so nothing is spoilt and no eye is needed.
    report = make_report(
        {"kind": Measured(head, first, second)}, cast(Any, None), "Clouds", {}, 0.8, Console(quiet=True)
    )
    found = report.evaluations["kind"]
    assert found.threshold is not None
    assert found.answered_test == evaluate_threshold(softmax(head.logits(unseen)), test, found.threshold)
