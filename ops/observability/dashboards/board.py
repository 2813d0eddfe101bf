"""The dashboards as the JSON that Grafana loads, with their common parts: fixed uid, variables, links to each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from ops.observability.dashboards import catalogue, overview, quality, rollout, serving
from ops.observability.dashboards.panels import DATASOURCE, Panel, Panels
from ops.observability.slo.deployment import Deployment

FOLDER = Path("dashboards")
BOARDS = {"overview": overview, "serving": serving, "quality": quality, "catalogue": catalogue, "rollout": rollout}
TAG = "triptych"
ALL = VariableOption(selected=True, text=["All"], value=["$__all"])
# The builder writes these keys for every variable; Grafana's schema does not have them.
_UNKNOWN = ("auto", "auto_min", "auto_count")


def write_dashboards(deployment: Deployment) -> dict[Path, str]:
    """Returns the JSON of each dashboard, by path."""
    panels = Panels(deployment)
    boards = {name: _build(deployment, name, of.DESCRIPTION, of.make_rows(panels)) for name, of in BOARDS.items()}
    return {FOLDER / f"{name}.json": _encode(board) for name, board in boards.items()}


def _build(
    deployment: Deployment, name: str, description: str, rows: Mapping[str, Sequence[Panel]]
) -> dashboard.Dashboard:
    board = dashboard.Dashboard(f"Triptych / {name.capitalize()}").uid(f"triptych-{name}").tags([TAG])
    board.description(description).timezone("browser").refresh("30s").time("now-1h", "now")
    board.tooltip(DashboardCursorSync.CROSSHAIR).readonly()
    link = dashboard.DashboardLink("Triptych dashboards").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    board.link(link.as_dropdown(True).include_vars(True).keep_time(True))
    board.with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    up = deployment.select("up", namespace="=~$namespace")
    served = deployment.select("nv_inference_request_success", namespace="=~$namespace")
    for variable, label, query in (
        ("namespace", "Namespace", f"label_values({deployment.select('up')}, namespace)"),
        ("instance", "Server", f"label_values({up}, instance)"),
        ("model", "Model", f"label_values({served}, model)"),
    ):
        board.with_variable(_variable(variable, label, query))
    for title, panels in rows.items():
        board.with_row(dashboard.Row(title))
        for panel in panels:
            board.with_panel(panel)
    return board


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """Selects all values by default. `All` also matches series without the label, as namespace outside Kubernetes."""
    variable = dashboard.QueryVariable(name).label(label).query({"query": query, "refId": name}).datasource(DATASOURCE)
    variable.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.ALPHABETICAL_ASC)
    return variable.multi(True).include_all(True).all_value(".*").current(ALL)


def _encode(board: dashboard.Dashboard) -> str:
    content = json.loads(JSONEncoder().encode(board.build()))
    for variable in content["templating"]["list"]:
        for key in _UNKNOWN:
            variable.pop(key, None)
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
