"""Makes the evaluation report of a training, for the heads that will be placed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from export.evaluation.evaluation import Evaluation, evaluate
from export.evaluation.predictions import LabelledPredictions
from export.evaluation.report import write_report
from export.evaluation.robustness import Robustness, measure_robustness
from export.progress import step
from export.training.features.extractor import FeatureExtractor, Pixels
from export.training.heads.fitting import Head
from export.training.heads.predictions import Predictions

# Photos for robustness, each with 18 corruptions: 30 s on 2 cores.
ROBUSTNESS_PHOTOS = 120


@dataclass(frozen=True)
class Report:
    """The report as files, and its evaluations.

    Attributes:
        files: path inside the trained folder -> content.
        evaluations: attribute -> evaluation, without attributes that lack validation or test photos.
    """

    files: dict[str, bytes]
    evaluations: dict[str, Evaluation]


def make_report(
    predictions: Mapping[str, tuple[Head, Predictions, Predictions]],
    extractor: FeatureExtractor,
    title: str,
    facts: Mapping[str, object],
    target_precision: float,
    console: Console,
) -> Report:
    """Evaluates each head on its validation and test photos; empty if no attribute has both."""
    labelled = {
        name: (_uncalibrated(head, validation), _uncalibrated(head, test))
        for name, (head, validation, test) in predictions.items()
        if len(validation.targets) and len(test.targets)
    }
    if not labelled:
        return Report({}, {})
    with step(console, "Evaluating"):
        # Use the served temperature, so that thresholds apply to served scores, even with few validation photos.
        evaluations = {
            name: evaluate(*pair, target_precision, temperature=predictions[name][0].temperature)
            for name, pair in labelled.items()
        }
    measured = (
        _measure_robustness(predictions[name][0], test, extractor, console) for name, (_, test) in labelled.items()
    )
    robustness = [one for one in measured if one is not None]
    with step(console, "Writing the report"), tempfile.TemporaryDirectory() as folder:
        write_report(list(evaluations.values()), Path(folder), title, facts=facts, robustness=robustness)
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }
    return Report(files, evaluations)


def _uncalibrated(head: Head, predictions: Predictions) -> LabelledPredictions:
    """Predictions without the temperature, so that the report shows its effect."""
    return LabelledPredictions(
        predictions.attribute,
        list(predictions.classes),
        list(predictions.photos),
        predictions.targets,
        np.float32(head.temperature) * predictions.logits,
        predictions.features,
    )


def _measure_robustness(
    head: Head, test: LabelledPredictions, extractor: FeatureExtractor, console: Console
) -> Robustness | None:
    """None if no test photo exists any more: incremental training keeps features, not photos."""
    there = np.array([row for row, photo in enumerate(test.photos) if photo.is_file()], np.int64)
    drawn = np.sort(np.random.default_rng(0).permutation(there)[:ROBUSTNESS_PHOTOS])
    if not len(drawn):
        return None
    pixels = np.stack([extractor.decode(test.photos[row].read_bytes()) for row in drawn])

    def predict(batch: Pixels) -> Any:
        return head.logits(extractor.embed(batch))

    with Progress(console=console, transient=True) as bar, step(console, f"Robustness, {head.attribute}"):
        task = bar.add_task("Robustness", total=None)
        return measure_robustness(
            head.attribute,
            pixels,
            test.targets[drawn],
            predict,
            on_progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
