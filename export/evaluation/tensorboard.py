"""Writes the figures and plots of a report as TensorBoard event files, to compare runs."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from export.evaluation.evaluation import Evaluation
from export.evaluation.plots import make_plots, plot_robustness, to_png
from export.evaluation.robustness import Robustness


def log_to_tensorboard(
    evaluations: Sequence[Evaluation], robustness: Sequence[Robustness], folder: Path, step: int = 0
) -> None:
    """Adds event files to `folder`; view them with `tensorboard --logdir FOLDER`.

    Args:
        evaluations: one per attribute.
        robustness: of the same attributes.
        folder: of the event files.
        step: step of the run.
    """
    # Imported here: importing torch takes seconds, and evaluation does not need it otherwise.
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder) as writer:
        for evaluation in evaluations:
            for name, value in _scalars(evaluation):
                writer.add_scalar(f"{evaluation.attribute}/{name}", value, step)
            for name, figure in make_plots(evaluation).items():
                writer.add_image(f"{evaluation.attribute}/{name}", _draw(figure), step, dataformats="HWC")
        for one in robustness:
            for row in one.corrupted:
                writer.add_scalar(f"{one.attribute}/robustness/{row.kind} {row.strength:g}", row.accuracy.value, step)
            name = f"{one.attribute}/robustness"
            writer.add_image(name, _draw(plot_robustness(one)), step, dataformats="HWC")


def _scalars(evaluation: Evaluation) -> Iterator[tuple[str, float]]:
    values = {
        "accuracy": evaluation.accuracy.value,
        "macro F1": evaluation.macro_f1.value,
        "ECE, as trained": evaluation.uncalibrated.ece,
        "ECE, calibrated": evaluation.calibrated.ece,
        "temperature": evaluation.temperature,
        "area under risk-coverage": evaluation.risk_coverage.area,
        "threshold": evaluation.threshold,
        "coverage": evaluation.answered_test.coverage if evaluation.answered_test else None,
        "precision": evaluation.answered_test.precision.value if evaluation.answered_test else None,
    }
    values |= {f"Recall@{k}": found.value for k, found in (evaluation.recall_at_k or {}).items()}
    for name, value in values.items():
        if value is not None:
            yield name, value


def _draw(figure: Figure) -> np.ndarray:  # type: ignore[type-arg]
    return np.asarray(Image.open(io.BytesIO(to_png(figure))).convert("RGB"))
