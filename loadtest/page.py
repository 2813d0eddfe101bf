"""One HTML page of reports with their charts inside: nothing is fetched, so it can be sent and kept."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from loadtest import chart, plan_chart, run_charts, sweep_chart
from loadtest.errors import LoadTestError

_TEMPLATE = Path(__file__).with_name("page.html.j2")
_WAYS = ("measured", "arithmetic", "simulation")
Draw = Callable[[dict[str, Any], Path], None]


@dataclass
class _Part:
    """What the page says of one report."""

    title: str
    facts: str
    verdict: bool | None = None
    lines: list[str] = field(default_factory=list)
    checks: list[dict[str, str]] = field(default_factory=list)
    pictures: list[str] = field(default_factory=list)
    tables: list[dict[str, Any]] = field(default_factory=list)


def write_page(file: Path, reports: list[dict[str, Any]]) -> None:
    """Writes the page.

    Args:
        file: where to; its folder exists.
        reports: as `locust`, `server`, `bench` and `plan` write them with --json.

    Raises:
        LoadTestError: one of them is none of these.
    """
    template = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
        _TEMPLATE.read_text(encoding="utf-8")
    )
    file.write_text(template.render(parts=[_describe(report) for report in reports]), encoding="utf-8")


def _describe(report: dict[str, Any]) -> _Part:
    kinds: dict[str, Callable[[dict[str, Any]], _Part]] = {
        "agreement": _of_agreement,
        "runs": _of_locust,
        "trials": _of_server,
        "plan": _of_plan,
        "scenarios": _of_bench,
    }
    for key, describe in kinds.items():
        if isinstance(report, dict) and key in report:
            try:
                return describe(report)
            except KeyError as error:
                raise LoadTestError(
                    f"A report with {key} has no {error}. Was it written by an older release?"
                ) from error
    raise LoadTestError("This is no report of `python -m loadtest locust, server, bench or plan --json FILE`.")


def _of_locust(report: dict[str, Any]) -> _Part:
    part = _Part("Users of a shop (Locust)", f"{_facts(report)}. {report['objective']}.", verdict=report["passed"])
    part.checks = [{"run": run, **check} for run, checks in report["checks"].items() for check in checks]
    part.pictures = [_picture(run_charts.draw_locust, report)]
    part.tables = [_table(run["shape"], run["phases"]) for run in report["runs"]]
    return part


def _of_server(report: dict[str, Any]) -> _Part:
    part = _Part("Whether answered or not (MLPerf LoadGen)", f"{_facts(report)}. {report['objective']}.")
    peak = report.get("peak_per_s")
    part.lines = [f"Highest rate that holds: {peak} photos/s."] if peak else []
    part.pictures = [_picture(run_charts.draw_open, report)]
    columns = ("rate", "completed_per_s", "photos", "p50_ms", "p90_ms", "p99_ms", "lag_p99_ms", "missed")
    part.tables = [_table("Runs", [{name: trial.get(name) for name in columns} for trial in report["trials"]])]
    return part


def _of_bench(report: dict[str, Any]) -> _Part:
    part = _Part("Against the same work without a server (bench)", _facts(report))
    if not isinstance(report["scenarios"], dict):
        part.title = "MLPerf's scenarios"
        shown = ("scenario", "rate", "completed_per_s", "photos", "p50_ms", "p90_ms", "p99_ms")
        part.tables = [_table("Runs", [{name: run[name] for name in shown} for run in report["scenarios"]])]
        return part
    names = report["scenarios"]
    part.pictures += [_picture(chart.draw, report)] if any(n[0] == "c" and n[1:].isdigit() for n in names) else []
    part.pictures += [_picture(sweep_chart.draw_sweep, report)] if "sweep" in names else []
    columns = ("name", "photos_per_s", "ratio_to_ceiling", "p50_ms", "p99_ms")
    part.tables = [
        _table(scenario["title"], [{name: row[name] for name in columns} for row in scenario["rows"]])
        for scenario in names.values()
    ]
    return part


def _of_agreement(report: dict[str, Any]) -> _Part:
    part = _Part("How far bench, Locust and LoadGen agree", _facts(report))
    part.tables = [
        _table(f"{in_flight} in flight", [{"generator": name, **row} for name, row in rows.items()])
        for in_flight, rows in report["agreement"].items()
    ]
    return part


def _of_plan(report: dict[str, Any]) -> _Part:
    part = _Part("Capacity", f"Curve of {_facts(report['curve'])}, profile {report['curve']['profile']}.")
    part.lines = [*report["arithmetic"], *([report["fleet"]["sentence"]] if "fleet" in report else [])]
    part.lines += [
        f"Error of the {way} against the measured points: {error['mean']:.0%} on the mean, {error['largest']:.0%} most."
        for way, error in report["errors"].items()
    ]
    part.pictures = [_picture(plan_chart.draw_plan, report)]
    rows = []
    for row in report["checks"]:
        cells = {"photos/s": row["rate"]}
        for name in ("p50_ms", "p99_ms"):
            cells |= {f"{name[:3]} {way}, ms": round(row[way][name], 1) for way in _WAYS if way in row}
        rows.append(cells)
    part.tables = [_table("Predicted and measured", rows)]
    return part


def _facts(report: dict[str, Any]) -> str:
    machine = report["machine"]
    return f"{machine['cpu']}, {machine['cores']} cores, {report['date']}, commit {report['commit']}"


def _table(title: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    shown = [{name: "" if value is None else value for name, value in row.items()} for row in rows]
    return {"title": title, "columns": list(shown[0]) if shown else [], "rows": shown}


def _picture(draw: Draw, report: dict[str, Any]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "chart.png"
        draw(report, file)
        return base64.b64encode(file.read_bytes()).decode()
