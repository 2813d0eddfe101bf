"""The sweep as a picture: throughput against latency by series, and where a request's time goes in the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from loadtest.errors import LoadTestError
from loadtest.report import STAGES
from loadtest.sweep import SERIES

_COLOURS = dict(zip(SERIES, ("#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd"), strict=True))
_STAGE_COLOURS = dict(zip(STAGES, ("#d62728", "#aec7e8", "#1f77b4", "#98df8a"), strict=True))


def draw_sweep(report: dict[str, Any], file: Path) -> None:
    """Writes a PNG.

    Args:
        report: as `python -m loadtest bench --json` writes it.
        file: where to; its folder exists.

    Raises:
        LoadTestError: the run had no sweep.
    """
    if "sweep" not in report["scenarios"]:
        raise LoadTestError(f"The chart shows the scenario sweep; there is only {', '.join(report['scenarios'])}.")
    rows = report["scenarios"]["sweep"]["rows"]
    figure, (curve, bars) = plt.subplots(1, 2, figsize=(13, 5), layout="constrained")
    for series in SERIES:
        _draw_series(curve, series, [row for row in rows if row["name"].startswith(f"{series}, ")])
    ceiling = max((row for row in rows if row["is_ceiling"]), key=lambda row: float(row["photos_per_s"]))
    curve.axvline(ceiling["photos_per_s"], color="#7f7f7f", ls="--", lw=1, label=ceiling["name"])
    curve.set(
        xlabel="photos a second", ylabel="latency of a call, ms", xscale="log", yscale="log",
        title="Closed loop, 640 x 480; the number is callers, or photos a call (dotted: p99)",
    )  # fmt: skip
    curve.legend(fontsize=8)
    curve.grid(alpha=0.3, which="both")
    _draw_stages(bars, [row for series in SERIES for row in rows if row["name"].startswith(f"{series}, ")])
    machine = report["machine"]
    figure.suptitle(
        f"{machine['cpu']}, {machine['cores']} cores, {report['date']}, commit {report['commit']}", fontsize=9
    )
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _draw_series(axes: Any, series: str, rows: list[dict[str, Any]]) -> None:
    rates, colour = [row["photos_per_s"] for row in rows], _COLOURS[series]
    axes.plot(rates, [row["p50_ms"] for row in rows], "o-", color=colour, label=series)
    axes.plot(rates, [row["p99_ms"] for row in rows], ":", color=colour, alpha=0.6)
    for row in rows:
        size = "".join(filter(str.isdigit, row["name"].rpartition(",")[2]))
        place = (row["photos_per_s"], row["p50_ms"])
        axes.annotate(size, place, fontsize=7, xytext=(3, -9), textcoords="offset points")


def _draw_stages(axes: Any, rows: list[dict[str, Any]]) -> None:
    """Each stage's share of what Triton counted, a bar a contestant."""
    names = [row["name"] for row in rows][::-1]
    left = [0.0] * len(rows)
    totals = [sum(row["stages_ms"].values()) for row in rows][::-1]
    for stage in STAGES:
        shares = [row["stages_ms"][stage] / total for row, total in zip(rows[::-1], totals, strict=True)]
        axes.barh(names, shares, left=left, color=_STAGE_COLOURS[stage], label=stage)
        left = [before + share for before, share in zip(left, shares, strict=True)]
    for position, total in enumerate(totals):
        axes.text(1.01, position, f"{total:.1f} ms", va="center", fontsize=7)
    axes.set(xlabel="share of a request's time in Triton", xlim=(0, 1.12), title="Stages (Triton's statistics)")
    axes.tick_params(axis="y", labelsize=7)
    axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4)
