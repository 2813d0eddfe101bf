"""The kinds of panel in our dashboards, each with unit, description and runbooks, and the common forms of queries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import bargauge, common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.models.common import (
    BarGaugeDisplayMode,
    BigValueColorMode,
    BigValueGraphMode,
    LegendDisplayMode,
    LegendPlacement,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VizOrientation,
)
from grafana_foundation_sdk.models.dashboard import DataSourceRef, FieldColorModeId, Threshold, ThresholdsMode
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from ops.observability.rules.rule import runbook_annotation, tidy
from ops.observability.slo.deployment import Deployment

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WINDOW = "$__rate_interval"
HEIGHT = 8
# Without this, an axis without data would end at 0.05 requests.
_SOFT_TOPS = {"reqps": 1.0, "ops": 1.0, "none": 1.0}
OK, WARN, BAD = "green", "orange", "red"
Panel = timeseries.Panel | stat.Panel | bargauge.Panel | heatmap.Panel
_Kind = TypeVar("_Kind", timeseries.Panel, stat.Panel, bargauge.Panel, heatmap.Panel)


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the names of its series."""

    expr: str
    legend: str


def rate(selector: str, by: str = "") -> str:
    """Returns the sum of the rates per second, or one sum for each value of the labels `by`."""
    return f"sum{f' by ({by}) ' if by else ''}(rate({selector}[{WINDOW}]))"


def ratio(part: str, whole: str) -> str:
    """Returns a quotient without the series that have no traffic."""
    return f"{part}\n/ ({whole} > 0)"


def quantile(share: float, buckets: str, by: str = "le") -> str:
    """Returns a quantile of a histogram without NaN, its value where nothing was observed."""
    return f"histogram_quantile({share}, {rate(buckets, by)}) >= 0"


class Panels:
    """Makes panels for one deployment, with its scrape job and its runbooks."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    def select(self, metric: str, **labels: str) -> str:
        """Returns a selector of the scrape job, limited by the dashboard's variables."""
        return self.deployment.select(metric, **{"namespace": "=~$namespace", "instance": "=~$instance", **labels})

    def recorded(self, record: str, **labels: str) -> str:
        """Returns a selector of a recorded series of all servers."""
        return self.deployment.select(record, namespace="=~$namespace", **labels)

    def lines(
        self,
        title: str,
        description: str,
        unit: str,
        *queries: Query,
        width: int = 8,
        alerts: Sequence[str] = (),
        is_stacked: bool = False,
        top: float | None = None,
        soft_top: float | None = None,
    ) -> timeseries.Panel:
        """Makes lines over time. The axis ends at `top`, or at least at `soft_top`, so that noise near 0 stays low."""
        panel = self._place(timeseries.Panel(), title, description, unit, width, alerts)
        panel.fill_opacity(40 if is_stacked else 8).line_width(1).min(0)
        legend = common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)
        panel.legend(legend.show_legend(True).calcs([]))
        panel.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
        if is_stacked:
            panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
        soft_top = soft_top if soft_top is not None else _SOFT_TOPS.get(unit)
        if top is not None:
            panel.max(top)
        elif soft_top is not None:
            panel.axis_soft_max(soft_top)
        for query in queries:
            panel.with_target(_target(query).range())
        return panel

    def figure(
        self,
        title: str,
        description: str,
        unit: str,
        query: Query,
        *,
        alerts: Sequence[str] = (),
        steps: Sequence[tuple[float | None, str]],
        decimals: int | None = None,
    ) -> stat.Panel:
        """Makes the current number, coloured by the steps: (from this value on, colour)."""
        panel = self._place(stat.Panel(), title, description, unit, 4, alerts)
        panel.graph_mode(BigValueGraphMode.AREA).color_mode(BigValueColorMode.VALUE)
        panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        thresholds = [Threshold(value=value, color=colour) for value, colour in steps]
        panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(thresholds))
        panel.no_value("no data").with_target(_target(query).range())
        if decimals is not None:
            panel.decimals(decimals)
        return panel

    def bars(
        self, title: str, description: str, unit: str, query: Query, *, width: int, alerts: Sequence[str] = ()
    ) -> bargauge.Panel:
        """Makes one bar for the current value of each series."""
        panel = self._place(bargauge.Panel(), title, description, unit, width, alerts)
        panel.orientation(VizOrientation.HORIZONTAL).display_mode(BarGaugeDisplayMode.BASIC).min(0).decimals(0)
        panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.CONTINUOUS_BLUES))
        panel.with_target(_target(query).instant().format(PromQueryFormat.TIME_SERIES))
        return panel

    def heat(
        self, title: str, description: str, unit: str, buckets: str, *, width: int = 12, alerts: Sequence[str] = ()
    ) -> heatmap.Panel:
        """Makes a heatmap of a histogram over time; `buckets` selects its `_bucket` series."""
        panel = self._place(heatmap.Panel(), title, description, unit, width, alerts)
        panel.calculate(False).y_axis(heatmap.YAxisConfig().unit(unit))
        panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64))
        query = Query(f"sum by (le) (increase({buckets}[{WINDOW}]))", "{{le}}")
        panel.with_target(_target(query).range().format(PromQueryFormat.HEATMAP))
        return panel

    def _place(self, panel: _Kind, title: str, description: str, unit: str, width: int, alerts: Sequence[str]) -> _Kind:
        text = " ".join(description.split())
        if alerts:
            text += f" {'Runbook' if len(alerts) == 1 else 'Runbooks'}: {', '.join(map(self._name_runbook, alerts))}"
        panel.title(title).description(text).unit(unit).datasource(DATASOURCE).height(HEIGHT).span(width)
        return panel

    def _name_runbook(self, alert: str) -> str:
        """Returns a Markdown link, which Grafana renders, where the runbooks are published; else the file's path."""
        annotation = runbook_annotation(self.deployment.objectives.runbooks, alert)
        return f"[{alert}]({annotation['runbook_url']})" if "runbook_url" in annotation else annotation["runbook"]


def _target(query: Query) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(tidy(query.expr)).legend_format(query.legend).datasource(DATASOURCE)
