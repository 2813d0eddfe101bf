"""Writes the report: a self-contained HTML file, and its figures as JSON and TensorBoard event files."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import jinja2
import loky
from matplotlib.figure import Figure

from export.errors import EvaluationError
from export.evaluation.abstention import photos_needed
from export.evaluation.evaluation import Evaluation
from export.evaluation.intervals import Estimate
from export.evaluation.plots import make_plots, plot_robustness, plot_samples, to_png, to_svg
from export.evaluation.robustness import Robustness
from export.evaluation.tensorboard import log_to_tensorboard
from export.evaluation.thumbnails import inline, inline_jpeg, read_thumbnail

REPORT, FIGURES, TENSORBOARD = "report.html", "evaluation.json", "tensorboard"


def write_report(
    evaluations: Sequence[Evaluation],
    folder: Path,
    title: str,
    *,
    facts: Mapping[str, object] | None = None,
    robustness: Sequence[Robustness] = (),
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
        EvaluationError: there is no evaluation.
        OSError: the folder cannot be written.
    """
    if not evaluations:
        raise EvaluationError("A report needs at least one evaluation, got none.")
    folder.mkdir(parents=True, exist_ok=True)
    written = datetime.now(timezone.utc)
    machine = describe_machine()
    page = _render_page(evaluations, robustness, title, f"{written:%Y-%m-%d %H:%M} UTC", machine, facts or {})
    figures = {
        "title": title,
        "date": written.isoformat(timespec="seconds"),
        "machine": machine,
        "facts": {name: str(value) for name, value in (facts or {}).items()},
        "attributes": {evaluation.attribute: evaluation.to_json() for evaluation in evaluations},
        "robustness": {one.attribute: one.to_json() for one in robustness},
    }
    report = folder / REPORT
    (folder / FIGURES).write_text(json.dumps(figures, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    log_to_tensorboard(evaluations, robustness, folder / TENSORBOARD)
    report.write_text(page, encoding="utf-8")
    return report


def _render_page(
    evaluations: Sequence[Evaluation],
    robustness: Sequence[Robustness],
    title: str,
    date: str,
    machine: str,
    facts: Mapping[str, object],
) -> str:
    template = _environment().get_template("report.html")
    return template.render(
        title=title,
        date=date,
        machine=machine,
        facts=facts,
        sections=[_section(number, evaluation) for number, evaluation in enumerate(evaluations)],
        robustness=[_robustness_section(one) for one in robustness],
    )


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


def _section(number: int, evaluation: Evaluation) -> dict[str, Any]:
    return {
        "anchor": f"attribute-{number}",
        "evaluation": evaluation,
        "plots": [_inline_plot(name, figure) for name, figure in make_plots(evaluation).items()],
        "mistakes": [
            {
                "truth": mistake.truth,
                "answer": mistake.answer,
                "score": mistake.score,
                "truth_score": mistake.truth_score,
                "photo_name": Path(mistake.photo).name,
                "source": _inline_photo(Path(mistake.photo)),
            }
            for mistake in evaluation.mistakes
        ],
    }


def _robustness_section(robustness: Robustness) -> dict[str, Any]:
    samples = inline(to_png(plot_samples(robustness)), "image/png")
    return {
        "attribute": robustness.attribute,
        "clean": robustness.clean,
        "plots": [
            _inline_plot("Accuracy on corrupted photos", plot_robustness(robustness)),
            {"name": "Examples of the strengths", "source": samples},
        ],
    }


def _inline_plot(name: str, figure: Figure) -> dict[str, str]:
    return {"name": name, "source": inline(to_svg(figure).encode(), "image/svg+xml")}


def _inline_photo(photo: Path) -> str | None:
    image = read_thumbnail(photo)
    return None if image is None else inline_jpeg(image)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters.update(percent=_percent, share=_share, estimate=_estimate)
    environment.globals["needed"] = photos_needed
    return environment


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _estimate(estimate: Estimate) -> str:
    if estimate.value is None:
        return "- (no photos)"
    return f"{_percent(estimate.value)} ({_percent(estimate.low)} to {_percent(estimate.high)})"
