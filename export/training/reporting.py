"""Makes the evaluation report of a training, for the heads that will be placed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from export.evaluation.evaluation import Evaluation, evaluate
from export.evaluation.predictions import Predictions
from export.evaluation.report import write_report
from export.evaluation.robustness import Robustness, measure_robustness
from export.progress import counted_step, step
from export.training.features.extractor import FeatureExtractor
from export.training.heads.fitting import Head, Search

# Photos for robustness, each with 18 corruptions: 30 s on 2 cores.
ROBUSTNESS_PHOTOS = 120


@dataclass(frozen=True)
class Measured:
    """A head with its predictions, and the abstention threshold of its training; None chooses one."""

    head: Head
    validation: Predictions
    test: Predictions
    threshold: float | None = None


@dataclass(frozen=True)
class Fitted(Measured):
    """A head that was trained now."""

    search: Search = field(kw_only=True)


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
    fitted: Mapping[str, Measured],
    extractor: FeatureExtractor,
    title: str,
    facts: Mapping[str, object],
    target_precision: float,
    console: Console,
) -> Report:
    """Evaluates each head on its validation and test photos; empty if no attribute has both."""
    measured = {name: one for name, one in fitted.items() if len(one.validation) and len(one.test)}
    if not measured:
        return Report({}, {})
    with step(console, "Evaluating"):
        # Use the served temperature, so that thresholds apply to served scores, even with few validation photos.
        evaluations = {
            name: evaluate(
                _uncalibrated(one.head, one.validation),
                _uncalibrated(one.head, one.test),
                one.head.temperature,
                target_precision,
                one.threshold,
            )
            for name, one in measured.items()
        }
    found = (_measure_robustness(one.head, one.test, extractor, console) for one in measured.values())
    robustness = [one for one in found if one is not None]
    with step(console, "Writing the report"), tempfile.TemporaryDirectory() as folder:
        write_report(list(evaluations.values()), Path(folder), title, facts, robustness)
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(Path(folder).rglob("*"))
            if path.is_file()
        }
    return Report(files, evaluations)


def _uncalibrated(head: Head, predictions: Predictions) -> Predictions:
    """Predictions without the temperature, so that the report shows its effect."""
    return replace(predictions, logits=np.float32(head.temperature) * predictions.logits)


def _measure_robustness(
    head: Head, test: Predictions, extractor: FeatureExtractor, console: Console
) -> Robustness | None:
    """None if no test photo exists any more: incremental training keeps features, not photos."""
    there = np.array([row for row, photo in enumerate(test.photos) if photo.is_file()], np.int64)
    drawn = np.sort(np.random.default_rng(0).permutation(there)[:ROBUSTNESS_PHOTOS])
    if not len(drawn):
        return None
    pixels = np.stack([extractor.decode(test.photos[row].read_bytes()) for row in drawn])
    with counted_step(console, f"Robustness, {head.attribute}") as on_progress:
        return measure_robustness(
            head.attribute,
            pixels,
            test.targets[drawn],
            lambda batch: head.logits(extractor.embed(batch)),
            on_progress,
        )
