"""`python -m ops observe`: server, Prometheus with the rules, a short load, and where to look; until Ctrl-C."""

from __future__ import annotations

import tempfile
import time
from dataclasses import replace
from pathlib import Path

from ops.local_server import LocalServer
from ops.prometheus import LocalPrometheus, ScrapeTarget, find_prometheus
from ops.render import OBJECTIVE_RULES, SERVER_RULES, read_deployment, render_rules
from ops.sample_load import SampleLoad
from ops.serve_view import describe_endpoints
from ops.settings import Settings
from ops.stop_requests import StopRequests

INTERVAL_S = 5.0
FOLLOW_S = 1.0
# Two scrapes and an evaluation, so that the last of the load is in the figures.
SETTLE_S = 3 * INTERVAL_S


def observe(settings: Settings, *, load_s: float, for_s: float | None, preview: Path | None) -> None:
    """Runs everything on free ports of this machine.

    Args:
        settings: of the server.
        load_s: how long photos are sent.
        for_s: how long it all runs after the load; None: until Ctrl-C.
        preview: where the panels are drawn, as PNG; None: nowhere.

    Raises:
        OpsError: a part of it could not be started, or died.
    """
    find_prometheus()  # before a server is started for nothing
    requests = StopRequests()
    deployment = read_deployment(settings.repository)
    rendered = render_rules(deployment)
    rules = [rendered[OBJECTIVE_RULES], rendered[SERVER_RULES]]  # kubernetes.yaml has nothing to look at here
    with (
        tempfile.TemporaryDirectory(prefix="triptych_observe_") as catalogue,  # the sample photos are not the user's
        LocalServer(replace(settings, catalogue_dir=Path(catalogue))) as server,
        SampleLoad(server.grpc_target, server.catalogue_key_file) as load,
    ):
        target = ScrapeTarget(server.metrics_url.removeprefix("http://").removesuffix("/metrics"))
        with LocalPrometheus([target], deployment.objectives.job, rules, INTERVAL_S) as prometheus:
            _announce(server, prometheus, load_s)
            began_s = time.time()
            sent = load.run_for(load_s, requests.is_asked)
            print(f"Sent {sent} photos in {time.time() - began_s:.0f} s.", flush=True)
            requests.wait(SETTLE_S)
            _tell(prometheus)
            if preview is not None:
                from ops.preview import draw_dashboards  # matplotlib is slow to import

                drawn = draw_dashboards(prometheus, preview, began_s, time.time())
                print(f"Drawn: {', '.join(str(file) for file in drawn)}", flush=True)
            _stay(server, requests, for_s)
    print("Stopped.", flush=True)


def _announce(server: LocalServer, prometheus: LocalPrometheus, load_s: float) -> None:
    lines = [
        "Running on this machine:",
        *(f"  {line}" for line in describe_endpoints(server.ports)),
        f"  rules    {prometheus.url}/rules",
        f"  alerts   {prometheus.url}/alerts",
        f"  graph    {prometheus.url}/graph?g0.expr=triptych:model_request_seconds:mean5m&g0.tab=0",
        f"  Grafana  import ops/dashboards/*.json; the data source is {prometheus.url}",
        f"Sending photos for {load_s:g} s.",
    ]
    print("\n".join(lines), flush=True)


def _tell(prometheus: LocalPrometheus) -> None:
    """The first figures, and what fires."""
    rows = prometheus.query("triptych:sli_failed:ratio_rate5m")
    for row in rows:
        labels = row["metric"]
        failed = f"{float(row['value'][1]):.2%} of the last 5 minutes failed it"
        print(f"  {labels['model']}, {labels['objective']}: {failed}")
    firing = prometheus.firing()
    print(f"  alerts that fire: {', '.join(sorted(firing)) or 'none'}", flush=True)


def _stay(server: LocalServer, requests: StopRequests, for_s: float | None) -> None:
    if for_s is None:
        print("Ctrl-C stops it all.", flush=True)
    deadline_s = None if for_s is None else time.monotonic() + for_s
    while not requests.is_asked() and (deadline_s is None or time.monotonic() < deadline_s):
        server.follow_log()
        server.raise_if_dead()
        requests.wait(FOLLOW_S if deadline_s is None else min(FOLLOW_S, max(0.0, deadline_s - time.monotonic())))
