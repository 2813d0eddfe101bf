"""A plan as a picture: predicted beside measured, and the simulated fleet through time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

_WAYS = {"measured": ("o", "#000000"), "arithmetic": ("--", "#1f77b4"), "simulation": ("-", "#ff7f0e")}


def draw_plan(report: dict[str, Any], file: Path) -> None:
    """Writes a PNG.

    Args:
        report: as `python -m loadtest plan --json` writes it.
        file: where to; its folder exists.
    """
    figure, panels = plt.subplots(
        1, 3 if "fleet" in report else 1, figsize=(15, 4.5), layout="constrained", squeeze=False
    )
    _draw_checks(panels[0][0], report["checks"])
    if "fleet" in report:
        _draw_fleet(panels[0][1], panels[0][2], report)
    curve = report["curve"]
    machine = curve["machine"]
    figure.suptitle(
        f"Measured on {machine['cpu']}, {machine['cores']} cores, profile {curve['profile']}, {curve['date']}, commit "
        f"{curve['commit']}; the fleet is simulated", fontsize=9,
    )  # fmt: skip
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _draw_checks(axes: Any, rows: list[dict[str, Any]]) -> None:
    rates = [row["rate"] for row in rows]
    for way, (style, colour) in _WAYS.items():
        for name, alpha in (("p50_ms", 0.5), ("p99_ms", 1.0)):
            if all(way in row for row in rows):
                values = [row[way][name] for row in rows]
                axes.plot(rates, values, style, color=colour, alpha=alpha, label=f"{name[:3]} {way}")
    axes.set(
        xlabel="photos/s of one replica", ylabel="from due to answered, ms", yscale="log", title="Predicted, measured"
    )
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3, which="both")


def _draw_fleet(counts: Any, times: Any, report: dict[str, Any]) -> None:
    windows = report["fleet"]["windows"]
    minutes = [window["at_s"] / 60 for window in windows]
    counts.plot(minutes, [window["replicas"] for window in windows], color="#1f77b4", label="replicas that answer")
    counts.set(xlabel="minute", ylabel="replicas", title="The simulated fleet")
    rates = counts.twinx()
    rates.plot(minutes, [window["rate"] for window in windows], color="#7f7f7f", ls=":", label="photos/s due")
    rates.set_ylabel("photos/s due")
    counts.legend(loc="upper left", fontsize=8)
    rates.legend(loc="lower right", fontsize=8)
    times.plot(minutes, [window["p99_ms"] for window in windows], color="#d62728", label="p99")
    times.axhline(report["plan"]["p99_s"] * 1e3, color="#7f7f7f", ls="--", label="bound")
    times.set(xlabel="minute", ylabel="ms", yscale="log", title="p99 of the simulated photos")
    times.legend(fontsize=8)
    for axes in (counts, times):
        axes.grid(alpha=0.3)
