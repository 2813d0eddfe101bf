"""Draws the panels of the committed dashboards from a live Prometheus, for people without Grafana.

Reads the JSON that Grafana would load, so the drawings show the dashboards' own queries.
"""

from __future__ import annotations

import json
import math
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

from ops.observability.prometheus.local_prometheus import LocalPrometheus
from ops.settings import ROOT

DASHBOARDS = ROOT / "ops/observability/dashboards"
STEPS = 120
RATE_INTERVAL = "30s"
GRID_COLUMNS = 24
COLUMN_INCHES, ROW_INCHES, DPI = 0.72, 0.36, 70
TEXT, FAINT = "#333333", "#888888"
_UNITS_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")


def expand(expr: str, range_s: float) -> str:
    """Returns the expression with Grafana's variables replaced, with all values selected."""
    values = {
        "$__rate_interval": RATE_INTERVAL,
        "$__range": f"{max(1, round(range_s))}s",
        "$namespace": ".*",
        "$instance": ".*",
        "$model": ".*",
    }
    for name, value in values.items():
        expr = expr.replace(name, value)
    return expr


def list_panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the panels without the titles of the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def draw_dashboards(prometheus: LocalPrometheus, folder: Path, start_s: float, end_s: float) -> list[Path]:
    """Draws one PNG for each dashboard; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for file in sorted(DASHBOARDS.glob("*.json")):
        figure = _draw(json.loads(file.read_text(encoding="utf-8")), prometheus, start_s, end_s)
        drawn.append(folder / f"{file.stem}.png")
        figure.savefig(drawn[-1], dpi=DPI)
    return drawn


def format_value(value: float, unit: str) -> str:
    """Formats as Grafana does, for the units of our panels."""
    if not math.isfinite(value):
        return "-"
    if unit == "percentunit":
        return f"{value * 100:.4g} %"
    if unit == "s":
        return f"{value * 1000:.3g} ms" if abs(value) < 1 else f"{value:.3g} s"
    if unit == "decbytes":
        return f"{value / 1e6:.3g} MB" if abs(value) >= 1e6 else f"{value / 1e3:.3g} kB"
    if unit == "bytes":
        power = min(int(math.log(abs(value), 1024)), len(_UNITS_BYTES) - 1) if abs(value) >= 1 else 0
        return f"{value / 1024**power:.3g} {_UNITS_BYTES[power]}"
    if unit == "short" and abs(value) >= 1000:
        return f"{value / 1e6:.3g} M" if abs(value) >= 1e6 else f"{value / 1e3:.3g} k"
    return f"{value:.3g}" + {"reqps": " /s", "ops": " /s"}.get(unit, "")


def _draw(dashboard: dict[str, Any], prometheus: LocalPrometheus, start_s: float, end_s: float) -> Figure:
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in list_panels(dashboard)) + 1
    with mpl.rc_context({"font.size": 8, "text.color": TEXT, "axes.edgecolor": "#cccccc", "xtick.color": FAINT}):
        figure = Figure(figsize=(GRID_COLUMNS * COLUMN_INCHES, height * ROW_INCHES), facecolor="white")
        taken = datetime.fromtimestamp(end_s, tz=timezone.utc).strftime("%Y-%m-%d")
        title = f"{dashboard['title']} - drawn from a live server, {taken}"
        figure.text(0.01, 1 - 0.5 / height, title, fontsize=12, weight="bold", va="center")
        for panel in dashboard["panels"]:
            place = panel["gridPos"]
            if panel["type"] == "row":
                figure.text(
                    0.01, 1 - (place["y"] + 2.1) / height, panel["title"], fontsize=10, color=FAINT, va="center"
                )
                continue
            axes = figure.add_axes(_rectangle(place, height))
            axes.set_title(panel["title"], fontsize=9, loc="left", color=TEXT)
            _PAINTERS[panel["type"]](axes, panel, prometheus, start_s, end_s)
    return figure


def _rectangle(place: dict[str, int], height: float) -> tuple[float, float, float, float]:
    """Returns left, bottom, width, height as shares of the figure, with space for axes, legend and title."""
    left, top = place["x"] + 1.2, place["y"] + 1 + 1.6
    return (
        left / GRID_COLUMNS,
        1 - (place["y"] + 1 + place["h"] - 1.9) / height,
        (place["w"] - 1.6) / GRID_COLUMNS,
        (place["y"] + 1 + place["h"] - 1.9 - top) / height,
    )


def _ask(
    panel: dict[str, Any], prometheus: LocalPrometheus, start_s: float, end_s: float
) -> list[tuple[str, Any, Any]]:
    """Returns every series of the panel: name, float64[T] seconds, float64[T] values."""
    step_s = max(1.0, (end_s - start_s) / STEPS)
    found = []
    for target in panel["targets"]:
        for row in prometheus.query_range(expand(target["expr"], end_s - start_s), start_s, end_s, step_s):
            times, values = zip(*row["values"], strict=True)
            found.append((_name(target, row["metric"]), np.array(times, float), np.array(values, float)))
    return found


def _name(target: dict[str, Any], labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), target["legendFormat"]).strip()


def _paint_lines(axes: Axes, panel: dict[str, Any], prometheus: LocalPrometheus, start_s: float, end_s: float) -> None:
    series = _ask(panel, prometheus, start_s, end_s)
    defaults = panel["fieldConfig"]["defaults"]
    stacked = defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal"
    if stacked and series:
        _stack(axes, series, start_s)
    for name, times, values in [] if stacked else series:
        axes.plot((times - start_s) / 60, values, label=name, linewidth=1.2, clip_on=False)
    if not series:
        axes.set_yticks([])  # no axis without data
    _dress(axes, defaults, (end_s - start_s) / 60)
    if series:
        columns = 3 if len(series) > 2 else max(1, len(series))
        axes.legend(
            loc="upper left", bbox_to_anchor=(0, -0.13), ncols=columns, fontsize=6.5, frameon=False, borderpad=0
        )
    else:
        _say_empty(axes)


def _stack(axes: Axes, series: list[tuple[str, Any, Any]], start_s: float) -> None:
    times = np.unique(np.concatenate([one for _, one, _ in series]))
    layers = [np.interp(times, own, np.nan_to_num(values)) for _, own, values in series]
    axes.stackplot((times - start_s) / 60, *layers, labels=[name for name, _, _ in series], alpha=0.6)


def _paint_figure(axes: Axes, panel: dict[str, Any], prometheus: LocalPrometheus, start_s: float, end_s: float) -> None:
    series = _ask(panel, prometheus, start_s, end_s)
    defaults = panel["fieldConfig"]["defaults"]
    axes.axis("off")
    if not series:
        _say_empty(axes)
        return
    value = float(series[0][2][-1])
    colour = "black"
    for step in defaults["thresholds"]["steps"]:
        if step.get("value") is None or value >= step["value"]:
            colour = step["color"]
    axes.text(0.5, 0.5, format_value(value, defaults["unit"]), fontsize=20, color=colour, ha="center", va="center")


def _paint_bars(axes: Axes, panel: dict[str, Any], prometheus: LocalPrometheus, start_s: float, end_s: float) -> None:
    target = panel["targets"][0]
    rows = prometheus.query(expand(target["expr"], end_s - start_s), end_s)
    rows.sort(key=lambda row: float(row["value"][1]))
    unit = panel["fieldConfig"]["defaults"]["unit"]
    for position, row in enumerate(rows):
        value = float(row["value"][1])
        axes.barh(position, value, color="#6baed6")
        axes.text(
            value,
            position,
            f" {value:.0f}" if unit == "none" else f" {format_value(value, unit)}",
            va="center",
            fontsize=6.5,
        )
    axes.set_yticks(range(len(rows)), [_name(target, row["metric"]) for row in rows], fontsize=6.5)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_xticks([])
    axes.margins(x=0.12)
    if len(rows) > 4:  # space for long names inside the panel
        box = axes.get_position()
        axes.set_position((box.x0 + 0.06, box.y0, box.width - 0.06, box.height))
    if not rows:
        _say_empty(axes)


def _paint_heat(axes: Axes, panel: dict[str, Any], prometheus: LocalPrometheus, start_s: float, end_s: float) -> None:
    series = sorted(_ask(panel, prometheus, start_s, end_s), key=lambda one: float(one[0]))
    unit = panel["options"]["yAxis"]["unit"]
    axes.spines[["top", "right"]].set_visible(False)
    if not series:
        _say_empty(axes)
        return
    times = series[0][1]
    within = np.diff(np.vstack([np.zeros(len(times)), *(values for _, _, values in series)]), axis=0)
    axes.pcolormesh(
        (times - start_s) / 60, np.arange(len(series)), np.maximum(within, 0), cmap="Blues", shading="nearest"
    )
    names = ["more" if name == "+Inf" else f"to {format_value(float(name), unit)}" for name, _, _ in series]
    axes.set_yticks(range(len(series)), names, fontsize=6)
    axes.set_xlim(0, (end_s - start_s) / 60)
    axes.xaxis.set_major_formatter(FuncFormatter(_format_minutes))
    axes.tick_params(axis="x", labelsize=6.5)


def _dress(axes: Axes, defaults: dict[str, Any], minutes: float) -> None:
    top = defaults.get("max")
    if top is None and "axisSoftMax" in defaults.get("custom", {}):
        top = max(axes.get_ylim()[1], defaults["custom"]["axisSoftMax"])
    axes.set_ylim(bottom=defaults.get("min"), top=top)
    axes.set_xlim(0, minutes)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_value(value, defaults["unit"])))
    axes.xaxis.set_major_formatter(FuncFormatter(_format_minutes))
    axes.xaxis.set_major_locator(MaxNLocator(3 if axes.get_position().width < 0.15 else 6))
    if defaults["unit"] == "bytes":
        axes.yaxis.set_major_locator(
            MultipleLocator(2 ** max(0.0, math.floor(math.log2(max(axes.get_ylim()[1], 1) / 4))))
        )
    axes.tick_params(labelsize=6.5)
    axes.grid(visible=True, color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)


def _format_minutes(value: float, _: int) -> str:
    return f"{value:g} min"


def _say_empty(axes: Axes) -> None:
    axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center", color=FAINT)


_PAINTERS = {"timeseries": _paint_lines, "stat": _paint_figure, "bargauge": _paint_bars, "heatmap": _paint_heat}
