"""Draws the panels of the committed dashboards from a live Prometheus, for people without Grafana.

Reads the JSON that Grafana would load, so the drawings show the dashboards' own queries.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from ops.observability.prometheus.local_prometheus import LocalPrometheus
from ops.settings import ROOT

DASHBOARDS = ROOT / "ops/observability/dashboards"
STEPS = 120
RATE_INTERVAL = "30s"
GRID_COLUMNS = 24
COLUMN_INCHES, ROW_INCHES, DPI = 0.72, 0.36, 70
FAINT = "#888888"
STYLE: Any = {
    "font.size": 6.5,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#cccccc",
    "xtick.color": FAINT,
    "grid.color": "#eeeeee",
    "legend.frameon": False,
}
_UNITS_BYTES = ("B", "KiB", "MiB", "GiB", "TiB")


def expand(expr: str, range_s: float) -> str:
    """Returns the expression with Grafana's variables replaced, with all values selected."""
    expr = expr.replace("$__rate_interval", RATE_INTERVAL).replace("$__range", f"{max(1, round(range_s))}s")
    return re.sub(r"\$(namespace|instance|model)", ".*", expr)


def list_panels(dashboard: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the panels without the titles of the rows."""
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def draw_dashboards(prometheus: LocalPrometheus, folder: Path, start_s: float, end_s: float) -> list[Path]:
    """Draws one PNG for each dashboard; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for file in sorted(DASHBOARDS.glob("*.json")):
        with mpl.rc_context(STYLE):
            figure = _draw(json.loads(file.read_text(encoding="utf-8")), _Source(prometheus, start_s, end_s))
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


@dataclass(frozen=True)
class _Source:
    """A Prometheus, and the time that the panels show, in seconds since the epoch."""

    prometheus: LocalPrometheus
    start_s: float
    end_s: float

    def read(self, panel: dict[str, Any]) -> list[tuple[str, Any, Any]]:
        """Returns every series of the panel: name, float64[T] minutes since the start, float64[T] values."""
        range_s = self.end_s - self.start_s
        found = []
        for target in panel["targets"]:
            expr = expand(target["expr"], range_s)
            for row in self.prometheus.query_range(expr, self.start_s, self.end_s, max(1.0, range_s / STEPS)):
                times, values = zip(*row["values"], strict=True)
                minutes = (np.array(times, float) - self.start_s) / 60
                found.append((_name(target, row["metric"]), minutes, np.array(values, float)))
        return found

    def read_last(self, panel: dict[str, Any]) -> list[tuple[str, float]]:
        """Returns name and last value of every series of the panel, the smallest first."""
        (target,) = panel["targets"]
        rows = self.prometheus.query(expand(target["expr"], self.end_s - self.start_s), self.end_s)
        named = [(_name(target, row["metric"]), float(row["value"][1])) for row in rows]
        return sorted(named, key=lambda one: one[1])


def _name(target: dict[str, Any], labels: dict[str, str]) -> str:
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), target["legendFormat"]).strip()


def _draw(dashboard: dict[str, Any], source: _Source) -> Figure:
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in dashboard["panels"]) + 1
    figure = Figure(figsize=(GRID_COLUMNS * COLUMN_INCHES, height * ROW_INCHES), facecolor="white")
    taken = datetime.fromtimestamp(source.end_s, tz=timezone.utc).strftime("%Y-%m-%d")
    title = f"{dashboard['title']} - drawn from a live server, {taken}"
    figure.text(0.01, 1 - 0.5 / height, title, fontsize=12, weight="bold", va="center")
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        if panel["type"] == "row":
            y = 1 - (place["y"] + 2.1) / height
            figure.text(0.01, y, panel["title"], fontsize=10, color=FAINT, va="center")
        else:
            axes = figure.add_axes(_rectangle(place, height))
            axes.set_title(panel["title"])
            _PAINTERS[panel["type"]](axes, panel, source)
    return figure


def _rectangle(place: dict[str, int], height: float) -> tuple[float, float, float, float]:
    """Returns left, bottom, width, height as shares of the figure, with space for axes, legend and title."""
    left, top, bottom = place["x"] + 1.2, place["y"] + 2.6, place["y"] + place["h"] - 0.9
    return left / GRID_COLUMNS, 1 - bottom / height, (place["w"] - 1.6) / GRID_COLUMNS, (bottom - top) / height


def _paint_lines(axes: Axes, panel: dict[str, Any], source: _Source) -> None:
    series = source.read(panel)
    defaults = panel["fieldConfig"]["defaults"]
    if not series:
        _say_empty(axes)
        return
    if defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal":
        minutes = np.unique(np.concatenate([own for _, own, _ in series]))
        layers = [np.interp(minutes, own, np.nan_to_num(values)) for _, own, values in series]
        axes.stackplot(minutes, *layers, labels=[name for name, _, _ in series], alpha=0.6)
    else:
        for name, minutes, values in series:
            axes.plot(minutes, values, label=name, linewidth=1.2, clip_on=False)
    _dress(axes, defaults)
    _show_time(axes, source)
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.13), ncols=min(3, len(series)), borderpad=0)


def _paint_figure(axes: Axes, panel: dict[str, Any], source: _Source) -> None:
    series = source.read(panel)
    defaults = panel["fieldConfig"]["defaults"]
    if not series:
        _say_empty(axes)
        return
    axes.axis("off")
    value = float(series[0][2][-1])
    passed = [step for step in defaults["thresholds"]["steps"] if step.get("value") is None or value >= step["value"]]
    shown = format_value(value, defaults["unit"])
    axes.text(0.5, 0.5, shown, fontsize=20, color=passed[-1]["color"], ha="center", va="center")


def _paint_bars(axes: Axes, panel: dict[str, Any], source: _Source) -> None:
    named = source.read_last(panel)
    unit = panel["fieldConfig"]["defaults"]["unit"]
    if not named:
        _say_empty(axes)
        return
    names, values = zip(*named, strict=True)
    bars = axes.barh(range(len(named)), values, tick_label=names, color="#6baed6")
    axes.bar_label(bars, [f"{value:.0f}" if unit == "none" else format_value(value, unit) for value in values])
    axes.spines["bottom"].set_visible(False)
    axes.set_xticks([])
    axes.margins(x=0.12)
    if len(named) > 4:  # space for long names inside the panel
        box = axes.get_position()
        axes.set_position((box.x0 + 0.06, box.y0, box.width - 0.06, box.height))


def _paint_heat(axes: Axes, panel: dict[str, Any], source: _Source) -> None:
    series = sorted(source.read(panel), key=lambda one: float(one[0]))
    if not series:
        _say_empty(axes)
        return
    minutes, unit = series[0][1], panel["options"]["yAxis"]["unit"]
    within = np.diff(np.vstack([np.zeros(len(minutes)), *(values for _, _, values in series)]), axis=0)
    axes.pcolormesh(minutes, np.arange(len(series)), np.maximum(within, 0), cmap="Blues", shading="nearest")
    names = ["more" if name == "+Inf" else f"to {format_value(float(name), unit)}" for name, _, _ in series]
    axes.set_yticks(range(len(series)), names)
    _show_time(axes, source)


def _dress(axes: Axes, defaults: dict[str, Any]) -> None:
    top = defaults.get("max")
    if top is None and "axisSoftMax" in defaults.get("custom", {}):
        top = max(axes.get_ylim()[1], defaults["custom"]["axisSoftMax"])
    axes.set_ylim(bottom=defaults.get("min"), top=top)
    axes.yaxis.set_major_formatter(lambda value, _: format_value(value, defaults["unit"]))
    if defaults["unit"] == "bytes":
        quarter = max(axes.get_ylim()[1], 1) / 4
        axes.yaxis.set_major_locator(MultipleLocator(2 ** max(0.0, math.floor(math.log2(quarter)))))
    axes.grid(visible=True)


def _show_time(axes: Axes, source: _Source) -> None:
    axes.set_xlim(0, (source.end_s - source.start_s) / 60)
    axes.xaxis.set_major_formatter("{x:g} min")
    axes.xaxis.set_major_locator(MaxNLocator(3 if axes.get_position().width < 0.15 else 6))


def _say_empty(axes: Axes) -> None:
    axes.axis("off")
    axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", va="center", color=FAINT)


_PAINTERS = {
    "timeseries": _paint_lines,
    "stat": _paint_figure,
    "bargauge": _paint_bars,
    "heatmap": _paint_heat,
}
