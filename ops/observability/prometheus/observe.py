"""Runs a server, a Prometheus with the rules and a short load, and prints their addresses."""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ops.observability.prometheus.local_prometheus import LocalPrometheus, find_prometheus, run_prometheus
from ops.observability.prometheus.sample_load import SampleLoad
from ops.observability.render import OBJECTIVE_RULES, SERVER_RULES, read_deployment, render_rules
from ops.server.local_server import LocalServer
from ops.settings import ADDRESS, Settings
from ops.supervision.serve import StopRequests
from ops.supervision.serve_view import describe_endpoints

INTERVAL_S = 5.0
FOLLOW_S = 1.0
# Two scrapes and one evaluation, so that the figures include the end of the load.
SETTLE_S = 3 * INTERVAL_S


def observe(settings: Settings, *, load_s: float, for_s: float | None, preview: Path | None) -> None:
    """Runs server and Prometheus on free ports of this machine.

    Args:
        settings: settings of the server.
        load_s: duration of the load.
        for_s: how long both keep running after the load; None is until Ctrl-C.
        preview: folder for PNG drawings of the panels; None draws nothing.

    Raises:
        OpsError: the server or Prometheus did not start, or ended.
    """
    find_prometheus()  # before starting a server
    requests = StopRequests()
    deployment = read_deployment(settings.repository)
    rendered = render_rules(deployment)
    rules = [rendered[OBJECTIVE_RULES], rendered[SERVER_RULES]]  # kubernetes.yaml needs a cluster
    with (
        tempfile.TemporaryDirectory(prefix="triptych_observe_") as catalogue,  # not the user's catalogue
        LocalServer(replace(settings, catalogue_dir=Path(catalogue))) as server,
        SampleLoad(server.grpc_target, server.catalogue_key_file) as load,
    ):
        targets: dict[str, dict[str, str]] = {f"{ADDRESS}:{server.ports.metrics}": {}}
        with run_prometheus(targets, deployment.objectives.job, rules, INTERVAL_S) as prometheus:
            _announce(server, prometheus, load_s)
            began_s = time.time()
            sent = load.run_for(load_s, requests.is_asked)
            print(f"Sent {sent} photos in {time.time() - began_s:.0f} s.", flush=True)
            requests.wait(SETTLE_S)
            _print_figures(prometheus)
            if preview is not None:
                from ops.observability.prometheus.preview import draw_dashboards

                drawn = draw_dashboards(prometheus, preview, began_s, time.time())
                print(f"Drew {', '.join(str(file) for file in drawn)}", flush=True)
            _stay(server, requests, for_s)
    print("Stopped.", flush=True)


def _announce(server: LocalServer, prometheus: LocalPrometheus, load_s: float) -> None:
    lines = [
        "Running on this machine:",
        *(f"  {line}" for line in describe_endpoints(server.ports)),
        f"  rules    {prometheus.url}/rules",
        f"  alerts   {prometheus.url}/alerts",
        f"  graph    {prometheus.url}/graph?g0.expr=triptych:model_request_seconds:mean5m&g0.tab=0",
        f"  Grafana  import ops/observability/dashboards/*.json with the data source {prometheus.url}",
        f"Sending photos for {load_s:g} s.",
    ]
    print("\n".join(lines), flush=True)


def _print_figures(prometheus: LocalPrometheus) -> None:
    """Prints the error ratios and the firing alerts."""
    rows = prometheus.query("triptych:sli_failed:ratio_rate5m")
    for row in rows:
        labels = row["metric"]
        failed = f"{float(row['value'][1]):.2%} failed in the last 5 minutes"
        print(f"  {labels['model']}, {labels['objective']}: {failed}")
    firing = prometheus.firing()
    print(f"  firing alerts: {', '.join(sorted(firing)) or 'none'}", flush=True)


def _stay(server: LocalServer, requests: StopRequests, for_s: float | None) -> None:
    if for_s is None:
        print("Press Ctrl-C to stop both.", flush=True)
    deadline_s = time.monotonic() + (math.inf if for_s is None else for_s)
    while not requests.is_asked() and (left_s := deadline_s - time.monotonic()) > 0:
        server.follow_log()
        server.raise_if_dead()
        requests.wait(min(FOLLOW_S, left_s))
