"""The common parts of all dashboards: fixed uid, variables, links to each other, rows."""

from __future__ import annotations

from collections.abc import Sequence

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from ops.observability.dashboards.panels import DATASOURCE, Panel
from ops.observability.slo.deployment import Deployment

TAG = "triptych"
ALL = VariableOption(selected=True, text=["All"], value=["$__all"])


def open_board(deployment: Deployment, name: str, description: str) -> dashboard.Dashboard:
    """Returns an empty dashboard `triptych-<name>`."""
    board = dashboard.Dashboard(f"Triptych / {name.capitalize()}").uid(f"triptych-{name}").tags([TAG])
    board.description(" ".join(description.split())).timezone("browser").refresh("30s").time("now-1h", "now")
    board.tooltip(DashboardCursorSync.CROSSHAIR).readonly()
    board.link(
        dashboard.DashboardLink("Triptych dashboards")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    board.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    up = deployment.select("up", namespace="=~$namespace")
    served = deployment.select("nv_inference_request_success", namespace="=~$namespace")
    for variable, label, query in (
        ("namespace", "Namespace", f"label_values({deployment.select('up')}, namespace)"),
        ("instance", "Server", f"label_values({up}, instance)"),
        ("model", "Model", f"label_values({served}, model)"),
    ):
        board.with_variable(_variable(variable, label, query))
    return board


def add_row(board: dashboard.Dashboard, title: str, panels: Sequence[Panel]) -> None:
    board.with_row(dashboard.Row(title))
    for panel in panels:
        board.with_panel(panel)


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """Selects all values by default. `All` also matches series without the label, as namespace outside Kubernetes."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .query({"query": query, "refId": name})
        .datasource(DataSourceRef(type_val=DATASOURCE.type_val, uid=DATASOURCE.uid))
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(ALL)
    )
