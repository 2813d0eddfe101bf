"""Charts of load tests: Locust over time, the open loop over the rate, a plan beside its measured points."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from loadtest.reports.environment import format_environment

_P50, _P99, _GREY = "#1f77b4", "#d62728", "#7f7f7f"


def draw_locust(report: dict[str, Any]) -> Figure:
    """A figure with one row per run; the report is of `triptych loadtest locust --json`."""
    runs = report["runs"]
    figure = Figure(figsize=(12, 3 * len(runs)), layout="constrained", dpi=110)
    for (counts, latencies), run in zip(figure.subplots(len(runs), 2, squeeze=False), runs, strict=True):
        _draw_counts(counts, run)
        _draw_latencies(latencies, run, report["under_ms"])
    return figure


def _draw_counts(axes: Any, run: dict[str, Any]) -> None:
    series = run["series"]
    seconds = [row["second"] for row in series]
    axes.plot(seconds, [row["answers"] for row in series], color=_P50, label="answers/s")
    axes.plot(seconds, [row["failed"] for row in series], color=_P99, label="failures/s")
    users = axes.twinx()
    users.step(seconds, [row["users"] for row in series], where="post", color=_GREY, ls=":", label="users")
    users.set_ylabel("users (dotted)")
    users.set_ylim(bottom=0)
    axes.set(xlabel="second", title=run["shape"])
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, loc="upper left")
    axes.grid(alpha=0.3)


def _draw_latencies(axes: Any, run: dict[str, Any], under_ms: float) -> None:
    series = [row for row in run["series"] if row["p50_ms"] is not None]
    seconds = [row["second"] for row in series]
    axes.plot(seconds, [row["p50_ms"] for row in series], color=_P50, label="p50 of the second")
    axes.plot(seconds, [row["p99_ms"] for row in series], color=_P99, label="p99 of the second")
    axes.axhline(under_ms, color=_GREY, ls="--", label=f"objective, {under_ms:g} ms")
    axes.set(xlabel="second", ylabel="ms", yscale="log", title=f"{run['shape']}: latency")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3, which="both")


def draw_open_loop(report: dict[str, Any]) -> Figure:
    """A figure of latency over the rate; the report is of `triptych loadtest open-loop --json`."""
    trials = sorted(report["trials"], key=lambda trial: trial["rate"])
    figure = Figure(figsize=(8, 4.5), layout="constrained", dpi=110)
    axes = figure.subplots()
    rates = [trial["rate"] for trial in trials]
    axes.plot(rates, [trial["p50_ms"] for trial in trials], "o-", color=_P50, label="p50")
    axes.plot(rates, [trial["p99_ms"] for trial in trials], "o-", color=_P99, label="p99")
    axes.axhline(report["under_ms"], color=_GREY, ls="--", label=f"objective, {report['under_ms']:g} ms")
    for name, colour in (("peak_per_s", "#2ca02c"), ("capacity_per_s", "#9467bd")):
        if report.get(name):
            axes.axvline(report[name], color=colour, ls=":", label=f"{name.split('_')[0]}, {report[name]:.1f}/s")
    axes.set(xlabel="photos/s sent", ylabel="latency, ms", yscale="log", title="Open loop, Poisson arrivals")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3, which="both")
    return figure


def draw_plan(report: dict[str, Any]) -> Figure:
    """A figure of predicted and measured latencies of one replica; the report is of `triptych loadtest plan --json`."""
    rows = report["checks"]
    rates = [row["rate"] for row in rows]
    figure = Figure(figsize=(8, 4.5), layout="constrained", dpi=110)
    axes = figure.subplots()
    for source, style, colour in (("measured", "o", "#000000"), ("predicted", "--", _P50)):
        for name, alpha in (("p50_ms", 0.5), ("p99_ms", 1.0)):
            values = [row[source][name] for row in rows]
            axes.plot(rates, values, style, color=colour, alpha=alpha, label=f"{name[:3]} {source}")
    axes.axhline(report["plan"]["p99_s"] * 1e3, color=_GREY, ls="--", label="bound of p99")
    axes.set(xlabel="photos/s of one replica", ylabel="latency, ms", yscale="log")
    axes.set_title(f"{format_environment(report['curve'])}, profile {report['curve']['profile']}", fontsize=9)
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3, which="both")
    return figure
