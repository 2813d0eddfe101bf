"""Rules and dashboards against a real Prometheus that scrapes the real server, fused and as an ensemble.

Windows are shortened 60 times by the generator: 5 minutes are 5 seconds.
"""

from __future__ import annotations

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.observability.prometheus.local_prometheus import LocalPrometheus, run_prometheus
from ops.observability.prometheus.preview import draw_dashboards, expand, list_panels
from ops.observability.prometheus.sample_load import SampleLoad
from ops.observability.render import KUBERNETES_RULES, OBJECTIVE_RULES, SERVER_RULES, read_deployment, render_rules
from ops.server.local_server import LocalServer
from ops.settings import ROOT
from tests.rules.conftest import find_program, wait_for
from tests.rules.promql import find_metrics, find_selectors

TIME_SCALE = 1 / 60
SCRAPE_S = 0.5
SCREEN_S = 60
# A round of the load takes seconds on a busy machine: a window of 5 s may lie between two searches.
LOOK_BACK_S = 30
DEPLOYMENT = read_deployment(time_scale=TIME_SCALE)
RENDERED = render_rules(DEPLOYMENT)
BOARDS = sorted((ROOT / "ops/observability/dashboards").glob("*.json"))
# Metrics that a CPU server on this machine cannot have, and why.
ABSENT = {
    r"nv_gpu_\w+": "there is no GPU here",
    r"kube_\w+": "kube-state-metrics, in a cluster",
    r"container_\w+": "cAdvisor, in a cluster",
}
# Panels that are rightly empty here, and why.
EMPTY = {
    "GPU in use": "there is no GPU here",
    "GPU memory in use": "there is no GPU here",
    "Replicas": "kube-state-metrics, in a cluster",
    "Autoscaler": "kube-state-metrics, in a cluster",
}


def read_api(prometheus: LocalPrometheus, path: str) -> Any:
    with urllib.request.urlopen(f"{prometheus.url}/api/v1/{path}", timeout=30) as response:
        return json.load(response)["data"]


def rules_of(*files: Path) -> list[dict[str, Any]]:
    return [rule for file in files for group in yaml.safe_load(RENDERED[file])["groups"] for rule in group["rules"]]


RULES = rules_of(OBJECTIVE_RULES, SERVER_RULES)
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
# The dashboards are committed for real time: what a rule records over 5m there is recorded over 5s here.
SCALED = {re.sub(r"5s$", "5m", name): name for name in RECORDED} | {
    "triptych:sli_failed:ratio_rate1h": "triptych:sli_failed:ratio_rate1m"
}


def scaled(expr: str) -> str:
    for name in sorted(SCALED, key=len, reverse=True):
        expr = re.sub(rf"{name}(?!\w)", SCALED[name], expr)
    return expr


# (dashboard, panel's title, expression)
QUERIES: list[tuple[str, str, str]] = [
    (board.stem, panel["title"], target["expr"])
    for board in BOARDS
    for panel in list_panels(json.loads(board.read_text()))
    for target in panel["targets"]
]


RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"))


def runbook_queries(file: Path) -> list[str]:
    blocks = re.findall(r"^```promql\n(.*?)^```$", file.read_text(), re.M | re.S)
    return [query for block in blocks for query in block.strip().split("\n\n")]


@pytest.fixture(scope="module")
def prometheus(server: LocalServer, ensemble_server: LocalServer, photos: list[Path]) -> Iterator[LocalPrometheus]:
    """Scrapes both forms, each as a namespace of its own; every photo has been asked of both for a while."""
    find_program("prometheus")
    targets = {
        f"127.0.0.1:{one.ports.metrics}": {"namespace": namespace}
        for one, namespace in ((server, "fused"), (ensemble_server, "ensemble"))
    }
    rules = [RENDERED[OBJECTIVE_RULES], RENDERED[SERVER_RULES]]
    with (
        run_prometheus(targets, DEPLOYMENT.objectives.job, rules, SCRAPE_S) as prometheus,
        SampleLoad(server.grpc_target, server.catalogue_key_file) as fused,
        SampleLoad(ensemble_server.grpc_target, ensemble_server.catalogue_key_file) as ensemble,
    ):
        ready = [
            f'triptych:sli_total:rate5s{{namespace="{one}", model="{model}"}} > 0'
            for one in ("fused", "ensemble")
            for model in ("recognizer", "searcher")
        ]

        def is_recorded() -> bool:
            fused.run_round()
            ensemble.run_round()
            return all(prometheus.query(one) for one in [*ready, "triptych:error_budget:remaining_ratio"])

        assert wait_for(is_recorded)
        yield prometheus


@pytest.fixture(scope="module")
def moment_s(prometheus: LocalPrometheus) -> float:
    """A time at which traffic was in every window."""
    time.sleep(3)  # evaluations come each second; what is recorded of what was recorded is there after two
    return time.time()


def test_every_metric_named_is_scraped_or_recorded(prometheus: LocalPrometheus) -> None:
    expressions = [rule["expr"] for rule in [*RULES, *rules_of(KUBERNETES_RULES)]]
    expressions += [scaled(expand(expr, SCREEN_S)) for _, _, expr in QUERIES]
    expressions += [scaled(query) for file in RUNBOOKS for query in runbook_queries(file)]
    named = {name for expr in expressions for name in find_metrics(expr)}
    there = set(read_api(prometheus, "label/__name__/values"))
    missing = {name for name in named - there if not any(re.fullmatch(pattern, name) for pattern in ABSENT)}
    assert missing == set()
    assert {pattern for pattern in ABSENT if any(re.fullmatch(pattern, name) for name in there)} == set(), (
        "no longer absent: take it off the list"
    )


def test_no_rule_fails(prometheus: LocalPrometheus) -> None:
    rules = [rule for group in read_api(prometheus, "rules")["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == RECORDED | {rule["alert"] for rule in RULES if "alert" in rule}
    assert {rule["name"]: rule["lastError"] for rule in rules if rule["health"] == "err"} == {}


@pytest.mark.parametrize("record", sorted(RECORDED))
def test_recorded_rule_has_data(prometheus: LocalPrometheus, record: str) -> None:
    assert wait_for(lambda: bool(prometheus.query(f"last_over_time({record}[1m])")))


@pytest.mark.parametrize("rule", [rule for rule in RULES if "alert" in rule], ids=lambda rule: rule["alert"])
def test_alert_asks_for_what_is_there(prometheus: LocalPrometheus, moment_s: float, rule: dict[str, Any]) -> None:
    """The alert runs, and each selector in it finds series: a label value that never occurs would keep it silent."""
    prometheus.query(rule["expr"], moment_s)
    for selector in find_selectors(rule["expr"]):
        assert prometheus.query(f"last_over_time({selector}[1m])", moment_s), selector


@pytest.mark.parametrize("rule", rules_of(KUBERNETES_RULES), ids=lambda rule: rule["alert"])
def test_cluster_alert_runs(prometheus: LocalPrometheus, rule: dict[str, Any]) -> None:
    prometheus.query(rule["expr"])


@pytest.mark.parametrize(("board", "title", "expr"), QUERIES)
def test_panel_query_runs_and_has_data(
    prometheus: LocalPrometheus, moment_s: float, board: str, title: str, expr: str
) -> None:
    rows = prometheus.query_range(scaled(expand(expr, SCREEN_S)), moment_s - LOOK_BACK_S, moment_s, 1)
    values = [value for row in rows for _, value in row["values"] if value != "NaN"]
    assert bool(values) != (title in EMPTY)


@pytest.mark.parametrize("namespace", ["fused", "ensemble"])
def test_panels_have_data_of_each_form(prometheus: LocalPrometheus, moment_s: float, namespace: str) -> None:
    """Both forms of recognizer feed the panels, apart from those that only one form has."""
    only_fused = {
        ("overview", "Latency"),
        ("overview", "Latency: remaining budget"),
        ("overview", "Burn rate"),
        ("serving", "Photos from the answer cache"),
    }
    for board, title, expr in QUERIES:
        if title not in EMPTY and not (namespace == "ensemble" and (board, title) in only_fused):
            chosen = expr.replace("$namespace", namespace)
            rows = prometheus.query_range(scaled(expand(chosen, SCREEN_S)), moment_s - LOOK_BACK_S, moment_s, 1)
            assert rows, f"{title}: {chosen}"


@pytest.mark.parametrize("file", RUNBOOKS, ids=lambda file: file.stem)
def test_runbook_queries_run(prometheus: LocalPrometheus, file: Path) -> None:
    for query in runbook_queries(file):
        prometheus.query(query)


def test_panels_are_drawn(prometheus: LocalPrometheus, moment_s: float, tmp_path: Path) -> None:
    drawn = draw_dashboards(prometheus, tmp_path, moment_s - LOOK_BACK_S, moment_s)
    assert [file.name for file in drawn] == [f"{board.stem}.png" for board in BOARDS]
    assert all(file.read_bytes().startswith(b"\x89PNG") and file.stat().st_size > 10_000 for file in drawn)
