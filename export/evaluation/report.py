"""Writes the report: a self-contained HTML file, and its figures as JSON and TensorBoard event files."""

from __future__ import annotations

import base64
import io
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2
import loky
from matplotlib.figure import Figure

from export.evaluation.abstention import photos_needed
from export.evaluation.evaluation import Evaluation
from export.evaluation.intervals import Estimate
from export.evaluation.plots import make_plots, plot_robustness, plot_samples, to_png, to_svg
from export.evaluation.robustness import Robustness
from export.evaluation.thumbnails import read_thumbnail

REPORT, FIGURES, TENSORBOARD = "report.html", "evaluation.json", "tensorboard"

_THUMBNAIL_PX = 160
_THUMBNAIL_QUALITY = 78


def write_report(
    evaluations: Sequence[Evaluation],
    folder: Path,
    title: str,
    facts: Mapping[str, object],
    robustness: Sequence[Robustness],
) -> Path:
    """Writes `report.html`, `evaluation.json` and event files in `tensorboard/`; existing files are replaced.

    Args:
        evaluations: one per attribute.
        folder: output folder; created if missing.
        title: the heading.
        facts: facts for the reader, such as catalogue, seed, and photos of each split.
        robustness: of the same attributes.

    Returns:
        Path of the HTML file.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = datetime.now(timezone.utc)
    machine = describe_machine()
    plots = {one.attribute: make_plots(one) for one in evaluations}
    corruption_plots = {one.attribute: plot_robustness(one) for one in robustness}
    page = (
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            date=f"{written:%Y-%m-%d %H:%M} UTC",
            machine=machine,
            facts=facts,
            evaluations=evaluations,
            plots=plots,
            robustness=robustness,
            corruption_plots=corruption_plots,
        )
    )
    figures = {
        "title": title,
        "date": written.isoformat(timespec="seconds"),
        "machine": machine,
        "facts": {name: str(value) for name, value in facts.items()},
        "attributes": {one.attribute: asdict(one) for one in evaluations},
        "robustness": {one.attribute: one.to_json() for one in robustness},
    }
    (folder / FIGURES).write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    _log_to_tensorboard(evaluations, robustness, plots, corruption_plots, folder / TENSORBOARD)
    report = folder / REPORT
    report.write_text(page, encoding="utf-8")
    return report


def describe_machine() -> str:
    """Processor, number of cores, Python version."""
    names = [line.partition(":")[2].strip() for line in _read_cpuinfo().splitlines() if line.startswith("model name")]
    processor = names[0] if names else platform.machine()
    return f"{processor}, {loky.cpu_count()} cores, Python {platform.python_version()}"


def _read_cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return ""


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(
        percent=_percent,
        share=_share,
        estimate=_estimate,
        svg=lambda figure: _inline(to_svg(figure).encode(), "image/svg+xml"),
        thumbnail=_thumbnail,
    )
    environment.globals["needed"] = photos_needed
    environment.globals["samples"] = lambda robustness: _inline(to_png(plot_samples(robustness)), "image/png")
    return environment


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return "- (no photos)"
    return f"{_percent(estimate.value)} ({_percent(estimate.low)} to {_percent(estimate.high)})"


def _thumbnail(photo: str) -> str | None:
    image = read_thumbnail(Path(photo), _THUMBNAIL_PX)
    if image is None:
        return None
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_THUMBNAIL_QUALITY, optimize=True)
    return _inline(file.getvalue(), "image/jpeg")


def _inline(content: bytes, media_type: str) -> str:
    """A `data:` URL."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def _log_to_tensorboard(
    evaluations: Sequence[Evaluation],
    robustness: Sequence[Robustness],
    plots: Mapping[str, Mapping[str, Figure]],
    corruption_plots: Mapping[str, Figure],
    folder: Path,
) -> None:
    """Adds event files to `folder`, to compare runs; view them with `tensorboard --logdir FOLDER`."""
    # Imported here: importing torch takes seconds, and evaluation does not need it otherwise.
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(folder) as writer:
        for evaluation in evaluations:
            for name, value in _scalars(evaluation):
                writer.add_scalar(f"{evaluation.attribute}/{name}", value)
            for name, figure in plots[evaluation.attribute].items():
                writer.add_figure(f"{evaluation.attribute}/{name}", figure)
        for one in robustness:
            for row in one.corrupted:
                writer.add_scalar(f"{one.attribute}/robustness/{row.kind} {row.strength:g}", row.accuracy.value)
            writer.add_figure(f"{one.attribute}/robustness", corruption_plots[one.attribute])


def _scalars(evaluation: Evaluation) -> Iterator[tuple[str, Any]]:
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
        **{f"Recall@{k}": found.value for k, found in evaluation.recall_at_k.items()},
    }
    return ((name, value) for name, value in values.items() if value is not None)
