"""The plots of the report, as matplotlib figures."""

from __future__ import annotations

import io

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from export.evaluation.calibration import Reliability
from export.evaluation.corruptions import STRENGTHS
from export.evaluation.evaluation import Evaluation
from export.evaluation.robustness import Robustness

_BLUE, _ORANGE, _GREY, _RED = "#2563a8", "#d9822b", "#8a8f98", "#b3382c"
_RASTER_DPI = 100
# With more classes, names and numbers would be too small to read; the table has them all.
_NAMED_CLASSES, _COUNTED_CLASSES = 60, 25


def make_plots(evaluation: Evaluation) -> dict[str, Figure]:
    """Name -> figure, in the order of the report."""
    return {
        "Confusion matrix": plot_confusion(evaluation),
        "Precision and recall by class": plot_classes(evaluation),
        "Reliability": plot_reliability(evaluation),
        "Risk and coverage": plot_risk_coverage(evaluation),
    }


def plot_confusion(evaluation: Evaluation) -> Figure:
    """Confusion matrix; colour: share of the photos of the true class; number: photos."""
    matrix = np.array(evaluation.confusion)
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    count = len(evaluation.classes)
    side = float(np.clip(2.6 + 0.36 * count, 4.5, 14))
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, shrink=0.6, label="share of the photos of the class")
    if count <= _NAMED_CLASSES:
        size = 8 if count <= 30 else 6
        axes.set_xticks(range(count), evaluation.classes, rotation=90, fontsize=size)
        axes.set_yticks(range(count), evaluation.classes, fontsize=size)
    if count <= _COUNTED_CLASSES:
        for row, column in zip(*np.nonzero(matrix), strict=True):
            colour = "white" if shares[row, column] > 0.55 else "black"
            axes.text(column, row, str(matrix[row, column]), ha="center", va="center", fontsize=7, color=colour)
    axes.set(xlabel="prediction", ylabel="true class")
    return figure


def plot_classes(evaluation: Evaluation) -> Figure:
    """Precision and recall by class, the lowest recall first; at most 60 classes."""
    present = [row for row in evaluation.class_figures if row.support]
    rows = sorted(present, key=lambda row: (row.recall or 0.0, row.precision or 0.0))[:_NAMED_CLASSES][::-1]
    figure = Figure(figsize=(7, 1.3 + 0.24 * len(rows)), layout="constrained")
    axes = figure.subplots()
    heights = np.arange(len(rows))
    for index, row in enumerate(rows):
        recall, precision = row.recall or 0.0, row.precision
        if precision is not None:
            axes.plot([recall, precision], [index, index], color="#d5d9e0", linewidth=3, zorder=1)
    answered = [index for index, row in enumerate(rows) if row.precision is not None]
    axes.scatter([row.recall or 0.0 for row in rows], heights, color=_BLUE, s=26, label="recall", zorder=3)
    axes.scatter(
        [rows[i].precision or 0.0 for i in answered], answered, color=_ORANGE, s=26, label="precision", zorder=2
    )
    axes.set_yticks(heights, [f"{row.name} ({row.support})" for row in rows], fontsize=8)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.7, len(rows) - 0.3), xlabel="share (in brackets: test photos)")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="lower left", fontsize=8)
    return figure


def plot_reliability(evaluation: Evaluation) -> Figure:
    """Reliability diagrams before and after the temperature, with the photos of each bin."""
    figure = Figure(figsize=(9, 4.6), layout="constrained")
    (before, after), counts = figure.subplots(2, 2, sharex=True, height_ratios=(3, 1))
    panels = (
        (before, counts[0], evaluation.uncalibrated, "As trained"),
        (after, counts[1], evaluation.calibrated, f"Temperature {evaluation.temperature:.2f}"),
    )
    for upper, lower, reliability, name in panels:
        _draw_reliability(upper, lower, reliability)
        upper.set_title(f"{name}: ECE {reliability.ece:.3f}", fontsize=10)
    before.set_ylabel("accuracy")
    counts[0].set_ylabel("photos")
    return figure


def _draw_reliability(upper: Axes, lower: Axes, reliability: Reliability) -> None:
    bins = len(reliability.counts)
    centres = (np.arange(bins) + 0.5) / bins
    filled = [index for index, count in enumerate(reliability.counts) if count]
    accuracies = [reliability.accuracies[index] or 0.0 for index in filled]
    confidences = [reliability.confidences[index] or 0.0 for index in filled]
    upper.plot([0, 1], [0, 1], "--", color=_GREY, linewidth=1, label="perfect calibration")
    upper.bar(centres[filled], accuracies, 0.92 / bins, color=_BLUE, alpha=0.35)
    upper.plot(confidences, accuracies, "o-", color=_BLUE, markersize=4, label="this head")
    upper.set(xlim=(0, 1), ylim=(0, 1.02))
    upper.grid(alpha=0.3)
    upper.legend(loc="upper left", fontsize=8)
    lower.bar(centres, reliability.counts, 0.92 / bins, color=_GREY)
    lower.set(xlabel="score of the prediction")


def plot_risk_coverage(evaluation: Evaluation) -> Figure:
    """Risk-coverage curve with the threshold."""
    curve = evaluation.risk_coverage
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve.coverage, curve.risk, color=_BLUE, label=f"test (area {curve.area:.3f})")
    allowed = 1 - evaluation.target_precision
    axes.axhline(allowed, color=_GREY, linestyle="--", linewidth=1, label=f"target: {allowed:.1%} wrong")
    answered = evaluation.answered_test
    if answered is not None and answered.precision.value is not None:
        precision = answered.precision
        point, low, high = (1 - (value or 0.0) for value in (precision.value, precision.low, precision.high))
        axes.errorbar(
            answered.coverage,
            point,
            yerr=[[max(0.0, point - high)], [max(0.0, low - point)]],
            fmt="o",
            color=_RED,
            capsize=3,
            label=f"threshold {evaluation.threshold:.2f}, chosen on validation",
        )
    axes.set(
        xlim=(0, 1.02),
        ylim=(0, None),
        xlabel="coverage (share of the photos)",
        ylabel="risk (share of wrong predictions)",
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def plot_robustness(robustness: Robustness) -> Figure:
    """One panel per corruption: accuracy with its interval, from clean to strong."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    clean = robustness.clean.value or 0.0
    for axes, kind in zip(figure.subplots(2, 3, sharey=True).flat, STRENGTHS, strict=True):
        rows = [row for row in robustness.corrupted if row.kind == kind]
        values = np.array([clean, *(row.accuracy.value for row in rows)], dtype=float)
        lows = np.array([robustness.clean.low, *(row.accuracy.low for row in rows)], dtype=float)
        highs = np.array([robustness.clean.high, *(row.accuracy.high for row in rows)], dtype=float)
        axes.axhline(clean, color=_GREY, linestyle="--", linewidth=1)
        axes.errorbar(
            range(len(values)), values, yerr=[values - lows, highs - values], fmt="o-", color=_BLUE, capsize=3
        )
        axes.set_xticks(range(len(values)), ["clean", *(f"{row.strength:g}" for row in rows)])
        axes.set(title=kind, ylim=(0, 1.02), xlabel=rows[0].unit)
        axes.grid(axis="y", alpha=0.3)
    figure.supylabel("accuracy", fontsize=10)
    return figure


def plot_samples(robustness: Robustness) -> Figure:
    """One photo with all corruptions, to illustrate the strengths."""
    kinds, columns = robustness.samples.shape[:2]
    figure = Figure(figsize=(1.5 * kinds, 1.5 * columns), layout="constrained")
    for column, (kind, strengths) in enumerate(STRENGTHS.items()):
        for row in range(columns):
            axes = figure.add_subplot(columns, kinds, row * kinds + column + 1)
            axes.imshow(robustness.samples[column, row], interpolation="nearest")
            axes.set_axis_off()
            axes.set_title(kind if row == 0 else f"{strengths[row - 1]:g}", fontsize=8)
    return figure


def to_svg(figure: Figure) -> str:
    """The figure as SVG; text becomes paths, so that no font is needed."""
    text = io.StringIO()
    # A fixed salt and no date: the same figure gives the same bytes.
    with mpl.rc_context({"svg.hashsalt": "triptych", "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()


def to_png(figure: Figure) -> bytes:
    """The figure as PNG, for plots with photos."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=_RASTER_DPI)
    return file.getvalue()
