"""Charts of the bench: latency over throughput, throughput by variant, and the scenario `sweep`."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from loadtest.errors import LoadTestError
from loadtest.reports.environment import format_environment

_COLOURS = {
    "gRPC, bare": "#1f77b4",
    "gRPC, triptych": "#17becf",
    "HTTP, raw": "#2ca02c",
    "FastAPI + ONNX Runtime, raw HTTP": "#d62728",
}
_SERIES = {"gRPC, cold": "#1f77b4", "HTTP, cold": "#2ca02c", "gRPC, hot": "#ff7f0e", "batches, cold": "#9467bd"}
_STAGES = {"queue": "#d62728", "compute_input": "#aec7e8", "compute_infer": "#1f77b4", "compute_output": "#98df8a"}


def draw_bench(report: dict[str, Any]) -> Figure:
    """A figure of the scenarios c1, c4, c16 and c32; the report is of `triptych loadtest bench --json`.

    Raises:
        LoadTestError: the report has none of these scenarios.
    """
    scenarios = report["scenarios"]
    by_concurrency = {int(name[1:]): scenarios[name] for name in scenarios if is_concurrency(name)}
    if not by_concurrency:
        raise LoadTestError(f"The chart needs one of c1, c4, c16, c32; the report has only {', '.join(scenarios)}.")
    figure = Figure(figsize=(12, 4.5), layout="constrained", dpi=110)
    curve, bars = figure.subplots(1, 2)
    _draw_curves(curve, by_concurrency)
    _draw_bars(bars, by_concurrency.get(16, next(iter(by_concurrency.values()))))
    figure.suptitle(format_environment(report), fontsize=9)
    return figure


def is_concurrency(name: str) -> bool:
    """Whether a scenario has the name of a concurrency, such as c16."""
    return name[0] == "c" and name[1:].isdigit()


def _draw_curves(axes: Any, by_concurrency: dict[int, Any]) -> None:
    for name, colour in _COLOURS.items():
        rows = [
            (str(concurrency), row)
            for concurrency, scenario in sorted(by_concurrency.items())
            for row in scenario["rows"]
            if row["name"] == name
        ]
        _draw_curve(axes, name, colour, rows)
    title = "Closed loop, 640 x 480; labels: concurrency (dotted: p99)"
    axes.set(xlabel="photos per second", ylabel="latency, ms", yscale="log", title=title)
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3)


def _draw_curve(axes: Any, name: str, colour: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    rates = [row["photos_per_s"] for _, row in rows]
    axes.plot(rates, [row["p50_ms"] for _, row in rows], "o-", color=colour, label=name)
    axes.plot(rates, [row["p99_ms"] for _, row in rows], ":", color=colour, alpha=0.6)
    for label, row in rows:
        place = (row["photos_per_s"], row["p50_ms"])
        axes.annotate(label, place, fontsize=7, xytext=(3, -9), textcoords="offset points")


def _draw_bars(axes: Any, scenario: dict[str, Any]) -> None:
    rows = scenario["rows"][::-1]
    colours = ["#7f7f7f" if row["is_in_process"] else _COLOURS.get(row["name"], "#9ecae1") for row in rows]
    bars = axes.barh([row["name"] for row in rows], [row["photos_per_s"] for row in rows], color=colours)
    labels = [f" {row['photos_per_s']:.0f} ({row['ratio_to_in_process']:.2f})" for row in rows]
    axes.bar_label(bars, labels, fontsize=8)
    axes.set(xlabel="photos per second (ratio to the best in-process baseline)")
    axes.set_title(scenario["title"], fontsize=9)
    axes.margins(x=0.18)


def draw_sweep(report: dict[str, Any]) -> Figure:
    """A figure of the scenario `sweep`; the report is of `triptych loadtest bench --json`.

    Raises:
        LoadTestError: the report has no sweep.
    """
    if "sweep" not in report["scenarios"]:
        raise LoadTestError(
            f"The chart needs the scenario sweep; the report has only {', '.join(report['scenarios'])}."
        )
    rows = report["scenarios"]["sweep"]["rows"]
    by_series = {series: [row for row in rows if row["name"].startswith(f"{series}, ")] for series in _SERIES}
    figure = Figure(figsize=(13, 5), layout="constrained", dpi=110)
    curve, bars = figure.subplots(1, 2)
    for series, colour in _SERIES.items():
        _draw_curve(curve, series, colour, [(row["name"].rpartition(" ")[2], row) for row in by_series[series]])
    baseline = max((row for row in rows if row["is_in_process"]), key=lambda row: float(row["photos_per_s"]))
    curve.axvline(baseline["photos_per_s"], color="#7f7f7f", ls="--", lw=1, label=baseline["name"])
    title = "Closed loop, 640 x 480; labels: concurrency or batch size (dotted: p99)"
    curve.set(xlabel="photos per second", ylabel="latency of a call, ms", xscale="log", yscale="log", title=title)
    curve.legend(fontsize=8)
    curve.grid(alpha=0.3, which="both")
    _draw_stages(bars, [row for each in by_series.values() for row in each])
    figure.suptitle(format_environment(report), fontsize=9)
    return figure


def _draw_stages(axes: Any, rows: list[dict[str, Any]]) -> None:
    """One bar per variant: the share of each stage in the time that Triton counted."""
    names = [row["name"] for row in rows][::-1]
    left = [0.0] * len(rows)
    totals = [sum(row["stages_ms"].values()) for row in rows][::-1]
    for stage, colour in _STAGES.items():
        shares = [row["stages_ms"][stage] / total for row, total in zip(rows[::-1], totals, strict=True)]
        axes.barh(names, shares, left=left, color=colour, label=stage)
        left = [before + share for before, share in zip(left, shares, strict=True)]
    axes.bar_label(axes.containers[-1], [f" {total:.1f} ms" for total in totals], fontsize=7)
    axes.set(xlabel="share of a request's time in Triton", xlim=(0, 1.12), title="Stages (Triton's statistics)")
    axes.tick_params(axis="y", labelsize=7)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4)
