"""dashboards-configmap.yaml: the dashboards of `ops/`, byte by byte but for the links to published runbooks."""

from __future__ import annotations

import json
import re

from tests.chart.matrix import TOGGLES, merged
from tests.chart.rendering import CHART, render

FILES = {path.name: path.read_text() for path in sorted((CHART / "files/dashboards").glob("*.json"))}


def test_dashboards_are_absent_by_default() -> None:
    assert not [name for _, name in render().names() if "-dashboard-" in name]


def test_each_dashboard_is_a_config_map_of_its_own() -> None:
    rendered = render(TOGGLES["dashboards"])
    found = {
        name: text
        for thing in rendered.all("ConfigMap")
        if "-dashboard-" in thing["metadata"]["name"]
        for name, text in thing["data"].items()
    }
    assert {name: text.strip() for name, text in found.items()} == {name: text.strip() for name, text in FILES.items()}
    assert all(json.loads(text)["uid"] for text in found.values())


def test_grafana_finds_them_by_label() -> None:
    for thing in render(TOGGLES["dashboards"]).all("ConfigMap"):
        if "-dashboard-" in thing["metadata"]["name"]:
            assert thing["metadata"]["labels"]["grafana_dashboard"] == "1"
            assert thing["metadata"]["annotations"]["grafana_folder"] == "Triptych"
            # An object of the API server's is at most 1 MiB, etcd's request 1.5.
            assert len(json.dumps(thing)) < 1 << 20


def test_panels_link_to_the_runbooks_where_the_values_say() -> None:
    at = "https://wiki.example/runbooks"
    rendered = render(merged(TOGGLES["dashboards"], {"monitoring": {"rules": {"runbooks": f"{at}/"}}}))
    things = [thing for thing in rendered.all("ConfigMap") if "-dashboard-" in thing["metadata"]["name"]]
    texts = {name: text for thing in things for name, text in thing["data"].items()}
    assert texts.keys() == FILES.keys()
    for name, text in texts.items():
        named = re.findall(r"docs/runbooks/(\w+)\.md", FILES[name])
        assert re.findall(r"\[(\w+)\]\((\S+?)\)", text) == [(alert, f"{at}/{alert}/") for alert in named]
        assert named
        assert json.loads(text)["uid"] == json.loads(FILES[name])["uid"]
