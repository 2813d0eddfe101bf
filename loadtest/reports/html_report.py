"""The HTML report: one file with the tables and charts of any reports, without external resources."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from loadtest.errors import LoadTestError
from loadtest.reports.bench_chart import draw_bench, draw_sweep, is_concurrency
from loadtest.reports.environment import format_environment
from loadtest.reports.load_charts import draw_locust, draw_open_loop, draw_plan

_TEMPLATE = Path(__file__).with_name("html_report.html.j2")


@dataclass
class _Part:
    """The part of the HTML report about one JSON report."""

    title: str
    facts: str
    verdict: bool | None = None
    lines: list[str] = field(default_factory=list)
    checks: list[dict[str, str]] = field(default_factory=list)
    charts: list[str] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)


def write_html_report(file: Path, reports: list[dict[str, Any]]) -> None:
    """Writes the file.

    Args:
        file: in an existing folder.
        reports: that `locust`, `open-loop`, `bench` and `plan` write with --json.

    Raises:
        LoadTestError: a report is of another command, or of a release with other fields.
    """
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    file.write_text(template.render(parts=[_describe(report) for report in reports]), encoding="utf-8")


def _describe(report: dict[str, Any]) -> _Part:
    kinds: dict[str, Callable[[dict[str, Any]], _Part]] = {
        "runs": _describe_locust,
        "trials": _describe_open_loop,
        "plan": _describe_plan,
        "scenarios": _describe_bench,
    }
    for key, describe in kinds.items():
        if isinstance(report, dict) and key in report:
            try:
                return describe(report)
            except KeyError as error:
                raise LoadTestError(
                    f"A report with {key} has no {error}. An earlier release wrote it; run the command again."
                ) from error
    raise LoadTestError("Not a report; expected a file of `triptych loadtest locust, open-loop, bench or plan --json`.")


def _describe_locust(report: dict[str, Any]) -> _Part:
    facts = f"{format_environment(report)}. {report['objective']}."
    part = _Part("Load test with users (Locust)", facts, verdict=report["passed"])
    part.checks = [{"run": run, **check} for run, checks in report["checks"].items() for check in checks]
    part.charts = [_chart(draw_locust(report))]
    part.tables = [_table(run["shape"], run["phases"]) for run in report["runs"]]
    return part


def _describe_open_loop(report: dict[str, Any]) -> _Part:
    part = _Part("Open loop (Poisson arrivals)", f"{format_environment(report)}. {report['objective']}.")
    peak = report.get("peak_per_s")
    part.lines = [f"Highest rate that meets the objective: {peak} photos/s."] if peak else []
    part.charts = [_chart(draw_open_loop(report))]
    columns = ("rate", "completed_per_s", "photos", "p50_ms", "p90_ms", "p99_ms", "lag_p99_ms", "missed")
    part.tables = [_table("Runs", [{name: trial.get(name) for name in columns} for trial in report["trials"]])]
    return part


def _describe_bench(report: dict[str, Any]) -> _Part:
    part = _Part("Bench: server, in-process baseline, FastAPI baseline", format_environment(report))
    scenarios = report["scenarios"]
    part.charts += [_chart(draw_bench(report))] if any(map(is_concurrency, scenarios)) else []
    part.charts += [_chart(draw_sweep(report))] if "sweep" in scenarios else []
    columns = ("name", "photos_per_s", "ratio_to_in_process", "p50_ms", "p99_ms")
    part.tables = [
        _table(scenario["title"], [{name: row[name] for name in columns} for row in scenario["rows"]])
        for scenario in scenarios.values()
    ]
    return part


def _describe_plan(report: dict[str, Any]) -> _Part:
    curve, errors = report["curve"], report["errors"]
    part = _Part("Capacity plan", f"Curve of {format_environment(curve)}, profile {curve['profile']}.")
    part.lines = [
        *report["arithmetic"],
        f"Error of the prediction at the measured points: mean {errors['mean']:.0%}, largest {errors['largest']:.0%}.",
    ]
    part.charts = [_chart(draw_plan(report))]
    rows = [
        {"photos/s": row["rate"]}
        | {
            f"{name[:3]} {source}, ms": round(row[source][name], 1)
            for name in ("p50_ms", "p99_ms")
            for source in ("measured", "predicted")
        }
        for row in report["checks"]
    ]
    part.tables = [_table("Predicted and measured", rows)]
    return part


def _table(title: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    shown = [{name: "" if value is None else value for name, value in row.items()} for row in rows]
    return {"title": title, "columns": list(shown[0]) if shown else [], "rows": shown}


def _chart(figure: Figure) -> str:
    png = io.BytesIO()
    figure.savefig(png)
    return base64.b64encode(png.getvalue()).decode()
