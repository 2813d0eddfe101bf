"""Runs as pictures: users, answers and latencies through time (Locust); latency against the rate (LoadGen)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

_P50, _P99 = "#1f77b4", "#d62728"


def draw_locust(report: dict[str, Any], file: Path) -> None:
    """Writes a PNG: a row a run.

    Args:
        report: as `python -m loadtest locust --json` writes it.
        file: where to; its folder exists.
    """
    runs = report["runs"]
    figure, panels = plt.subplots(len(runs), 2, figsize=(12, 3 * len(runs)), layout="constrained", squeeze=False)
    for (counts, times), run in zip(panels, runs, strict=True):
        _draw_counts(counts, run)
        _draw_times(times, run, report["under_ms"])
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _draw_counts(axes: Any, run: dict[str, Any]) -> None:
    series = run["series"]
    seconds = [row["second"] for row in series]
    axes.plot(seconds, [row["answers"] for row in series], color=_P50, label="answers/s")
    axes.plot(seconds, [row["failed"] for row in series], color=_P99, label="failures/s")
    users = axes.twinx()
    users.step(seconds, [row["users"] for row in series], where="post", color="#7f7f7f", ls=":", label="users")
    users.set_ylabel("users (dotted)")
    users.set_ylim(bottom=0)
    axes.set(xlabel="second", title=run["shape"])
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8, loc="upper left")
    axes.grid(alpha=0.3)


def _draw_times(axes: Any, run: dict[str, Any], under_ms: float) -> None:
    series = [row for row in run["series"] if row["p50_ms"] is not None]
    seconds = [row["second"] for row in series]
    axes.plot(seconds, [row["p50_ms"] for row in series], color=_P50, label="p50 of the second")
    axes.plot(seconds, [row["p99_ms"] for row in series], color=_P99, label="p99 of the second")
    axes.axhline(under_ms, color="#7f7f7f", ls="--", label=f"bound, {under_ms:g} ms")
    axes.set(xlabel="second", ylabel="ms", yscale="log", title=f"{run['shape']}: latency")
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3, which="both")


def draw_open(report: dict[str, Any], file: Path) -> None:
    """Writes a PNG.

    Args:
        report: as `python -m loadtest server --json` writes it, with trials.
        file: where to; its folder exists.
    """
    trials = sorted(report["trials"], key=lambda trial: trial["rate"])
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    rates = [trial["rate"] for trial in trials]
    axes.plot(rates, [trial["p50_ms"] for trial in trials], "o-", color=_P50, label="p50")
    axes.plot(rates, [trial["p99_ms"] for trial in trials], "o-", color=_P99, label="p99")
    axes.axhline(report["under_ms"], color="#7f7f7f", ls="--", label=f"bound, {report['under_ms']:g} ms")
    for name, colour in (("peak_per_s", "#2ca02c"), ("offline_per_s", "#9467bd")):
        if report.get(name):
            axes.axvline(report[name], color=colour, ls=":", label=f"{name.split('_')[0]}, {report[name]:.1f}/s")
    axes.set(
        xlabel="photos/s due", ylabel="from due to answered, ms", yscale="log", title="Open model (LoadGen, Poisson)"
    )
    axes.legend(fontsize=8)
    axes.grid(alpha=0.3, which="both")
    figure.savefig(file, dpi=110)
    plt.close(figure)
