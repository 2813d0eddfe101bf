"""The bench as a picture: throughput against latency, and throughput beside the ceiling."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

from loadtest.errors import LoadTestError

_COLOURS = {
    "gRPC, bare": "#1f77b4",
    "gRPC, triptych": "#17becf",
    "HTTP, raw": "#2ca02c",
    "FastAPI + ONNX Runtime, raw HTTP": "#d62728",
}


def draw(report: dict[str, Any], file: Path) -> None:
    """Writes a PNG of the scenarios of one photo a call, by concurrency.

    Args:
        report: as `python -m loadtest bench --json` writes it.
        file: where to; its folder exists.

    Raises:
        LoadTestError: the run had no such scenario.
    """
    by_concurrency = {
        int(name[1:]): scenario
        for name, scenario in report["scenarios"].items()
        if name[0] == "c" and name[1:].isdigit()
    }
    if not by_concurrency:
        raise LoadTestError(
            f"The chart shows c1, c4, c16, c32; there is only {', '.join(report['scenarios'])}. Run one."
        )
    figure, (curve, bars) = plt.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    _draw_curves(curve, by_concurrency)
    _draw_bars(bars, by_concurrency.get(16, next(iter(by_concurrency.values()))))
    machine = report["machine"]
    figure.suptitle(
        f"{machine['cpu']}, {machine['cores']} cores, {report['date']}, commit {report['commit']}", fontsize=9
    )
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _draw_curves(curve: Any, by_concurrency: dict[int, Any]) -> None:
    for name, colour in _COLOURS.items():
        rows = [
            (c, row)
            for c, scenario in sorted(by_concurrency.items())
            for row in scenario["rows"]
            if row["name"] == name
        ]
        curve.plot([r["photos_per_s"] for _, r in rows], [r["p50_ms"] for _, r in rows], "o-", color=colour, label=name)
        curve.plot([r["photos_per_s"] for _, r in rows], [r["p99_ms"] for _, r in rows], ":", color=colour, alpha=0.6)
        for concurrency, row in rows:
            curve.annotate(
                str(concurrency),
                (row["photos_per_s"], row["p50_ms"]),
                fontsize=7,
                xytext=(3, -9),
                textcoords="offset points",
            )
    curve.set(
        xlabel="photos a second",
        ylabel="latency, ms",
        yscale="log",
        title="Closed loop, 640 x 480, by callers (dotted: p99)",
    )
    curve.legend(fontsize=8)
    curve.grid(alpha=0.3)


def _draw_bars(axes: Any, scenario: dict[str, Any]) -> None:
    rows = scenario["rows"][::-1]
    colours = ["#7f7f7f" if row["is_ceiling"] else _COLOURS.get(row["name"], "#9ecae1") for row in rows]
    axes.barh([row["name"] for row in rows], [row["photos_per_s"] for row in rows], color=colours)
    for position, row in enumerate(rows):
        axes.text(
            row["photos_per_s"],
            position,
            f" {row['photos_per_s']:.0f} ({row['ratio_to_ceiling']:.2f})",
            va="center",
            fontsize=8,
        )
    axes.set(xlabel="photos a second (ratio to the best in process)", title=scenario["title"])
    axes.title.set_fontsize(9)
    axes.margins(x=0.18)
