"""The committed dashboards against Grafana's own schema and our conventions.

`grafana_schema.json` is made by `derive_grafana_schema.sh` from the types Grafana publishes (@grafana/schema 11.6.0).
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ops.settings import ROOT

FILES = sorted((ROOT / "ops/observability/dashboards").glob("*.json"))
SCHEMAS: dict[str, Any] = json.loads(Path(__file__).with_name("grafana_schema.json").read_text())
KINDS = {"timeseries": "TimeSeriesPanel", "stat": "StatPanel", "bargauge": "BarGaugePanel", "heatmap": "HeatmapPanel"}
# Windows that are the question itself, not a rate for the screen.
FIXED_WINDOWS = {"Starts"}
GRID_COLUMNS = 24


def read(file: Path) -> dict[str, Any]:
    board: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return board


def panels() -> list[Any]:
    return [
        pytest.param(panel, id=f"{file.stem}: {panel['title']}")
        for file in FILES
        for panel in read(file)["panels"]
        if panel["type"] != "row"
    ]


def mistakes(schema: str, definition: str, content: Any) -> list[str]:
    validator = jsonschema.Draft7Validator({**SCHEMAS[schema], "$ref": f"#/definitions/{definition}"})
    return [f"{'/'.join(map(str, error.absolute_path))}: {error.message}" for error in validator.iter_errors(content)]


def test_dashboards_are_the_four_with_fixed_uids() -> None:
    assert {file.stem: read(file)["uid"] for file in FILES} == {
        name: f"triptych-{name}" for name in ("catalogue", "overview", "quality", "rollout", "serving")
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_dashboard_fits_grafanas_schema(file: Path) -> None:
    board = read(file)
    assert mistakes("DashboardFile", "Dashboard", board) == []
    for panel in board["panels"]:
        assert mistakes("DashboardFile", "RowPanel" if panel["type"] == "row" else "Panel", panel) == []


@pytest.mark.parametrize("panel", panels())
def test_panel_options_fit_grafanas_schema(panel: dict[str, Any]) -> None:
    schema = KINDS[panel["type"]]
    assert mistakes(schema, "Options", panel["options"]) == []
    custom = panel["fieldConfig"]["defaults"].get("custom")
    if custom:
        assert mistakes(schema, "FieldConfig", custom) == []


def test_schema_refuses_what_grafana_does_not_know() -> None:
    board = read(FILES[0])
    assert mistakes("DashboardFile", "Dashboard", {**board, "refreshh": "30s"})
    assert mistakes("StatPanel", "Options", {"graphMode": "loud"})


@pytest.mark.parametrize("panel", panels())
def test_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert len(panel["description"].split()) >= 4
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    assert all(target["datasource"]["uid"] == "${datasource}" and target["expr"] for target in panel["targets"])


@pytest.mark.parametrize("panel", panels())
def test_panel_follows_the_variables_and_the_screen(panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        assert 'namespace=~"$namespace"' in target["expr"]
        windows = set(re.findall(r"\[([^\]]+)\]", target["expr"]))
        if panel["title"] not in FIXED_WINDOWS:
            assert windows <= {"$__rate_interval", "$__range"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_dashboard_has_its_variables(file: Path) -> None:
    names = [variable["name"] for variable in read(file)["templating"]["list"]]
    assert names == ["datasource", "namespace", "instance", "model"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_panels_do_not_overlap(file: Path) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in read(file)["panels"]:
        place = panel["gridPos"]
        assert place.get("x", 0) + place["w"] <= GRID_COLUMNS
        for x in range(place.get("x", 0), place.get("x", 0) + place["w"]):
            for y in range(place.get("y", 0), place.get("y", 0) + place["h"]):
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_every_alert_is_named_by_a_panel_and_every_name_is_a_runbook() -> None:
    named = {
        name
        for file in FILES
        for panel in read(file)["panels"]
        for name in re.findall(r"[\w/]+/Triptych\w+\.md", panel.get("description") or "")
    }
    assert named == {str(file.relative_to(ROOT)) for file in (ROOT / "docs/runbooks").glob("*.md")}
