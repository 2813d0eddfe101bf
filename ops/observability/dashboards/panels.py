"""The kinds of panel in our dashboards, each with unit, description and runbooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
)
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


@dataclass(frozen=True)
class Query:
    """A PromQL expression and the names of its series."""

    expr: str
    legend: str


class Panels:
    """Makes panels for one deployment, with its scrape job and its runbooks."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment

    def select(self, metric: str, **labels: str) -> str:
        """Returns a selector of the scrape job, limited by the dashboard's variables."""
        return self.deployment.select(metric, **{"namespace": "=~$namespace", "instance": "=~$instance", **labels})

    def recorded(self, record: str, **labels: str) -> str:
        """Returns a selector of a recorded series of a fleet."""
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
        panel = timeseries.Panel().fill_opacity(40 if is_stacked else 8).line_width(1).min(0)
        panel.legend(_legend()).tooltip(
            common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
        )
        if is_stacked:
            panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
        if top is not None:
            panel.max(top)
        soft_top = soft_top if soft_top is not None else _SOFT_TOPS.get(unit)
        if soft_top is not None and top is None:
            panel.axis_soft_max(soft_top)
        for query in queries:
            panel.with_target(_range(query))
        self._finish(panel, title, description, unit, width, alerts)
        return panel

    def figure(
        self,
        title: str,
        description: str,
        unit: str,
        query: Query,
        *,
        width: int = 4,
        alerts: Sequence[str] = (),
        steps: Sequence[tuple[float | None, str]] = ((None, OK),),
        decimals: int | None = None,
    ) -> stat.Panel:
        """Makes the current number, coloured by the steps: (from this value on, colour)."""
        panel = stat.Panel().graph_mode(BigValueGraphMode.AREA).color_mode(BigValueColorMode.VALUE)
        panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        panel.thresholds(_thresholds(steps)).no_value("no data").with_target(_range(query))
        if decimals is not None:
            panel.decimals(decimals)
        self._finish(panel, title, description, unit, width, alerts)
        return panel

    def bars(
        self,
        title: str,
        description: str,
        unit: str,
        query: Query,
        *,
        width: int = 8,
        alerts: Sequence[str] = (),
    ) -> bargauge.Panel:
        """Makes one bar for the current value of each series."""
        panel = (
            bargauge.Panel()
            .orientation(VizOrientation.HORIZONTAL)
            .display_mode(BarGaugeDisplayMode.BASIC)
            .min(0)
            .decimals(0)
        )
        panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
        panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.CONTINUOUS_BLUES))
        target = _query(query).instant().format(PromQueryFormat.TIME_SERIES)
        panel.with_target(target)
        self._finish(panel, title, description, unit, width, alerts)
        return panel

    def heat(
        self, title: str, description: str, unit: str, buckets: str, *, width: int = 12, alerts: Sequence[str] = ()
    ) -> heatmap.Panel:
        """Makes a heatmap of a histogram over time; `buckets` selects its `_bucket` series."""
        panel = heatmap.Panel().calculate(False).y_axis(heatmap.YAxisConfig().unit(unit))
        panel.color(heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(64))
        query = Query(f"sum by (le) (increase({buckets}[{WINDOW}]))", "{{le}}")
        panel.with_target(_range(query).format(PromQueryFormat.HEATMAP))
        self._finish(panel, title, description, unit, width, alerts)
        return panel

    def _finish(self, panel: Panel, title: str, description: str, unit: str, width: int, alerts: Sequence[str]) -> None:
        sentences = [" ".join(description.split())]
        if alerts:
            named = ", ".join(_name_runbook(self.deployment.objectives.runbooks, alert) for alert in alerts)
            sentences.append(f"{'Runbook' if len(alerts) == 1 else 'Runbooks'}: {named}")
        panel.title(title).description(" ".join(sentences)).unit(unit)
        panel.datasource(DATASOURCE).height(HEIGHT).span(width)


def _query(query: Query) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(tidy(query.expr)).legend_format(query.legend).datasource(DATASOURCE)


def _range(query: Query) -> prometheus.Dataquery:
    return _query(query).range()


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .display_mode(LegendDisplayMode.LIST)
        .placement(LegendPlacement.BOTTOM)
        .show_legend(True)
        .calcs([])
    )


def _thresholds(steps: Sequence[tuple[float | None, str]]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig()
        .mode(ThresholdsMode.ABSOLUTE)
        .steps([Threshold(value=value, color=colour) for value, colour in steps])
    )


def _name_runbook(runbooks: str | None, alert: str) -> str:
    """Returns a Markdown link, which Grafana renders, where the runbooks are published; else the file's path."""
    annotation = runbook_annotation(runbooks, alert)
    return f"[{alert}]({annotation['runbook_url']})" if "runbook_url" in annotation else annotation["runbook"]
