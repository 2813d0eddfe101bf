"""`observe` and `render`: a local Prometheus with the rules, and the files made from the objectives."""

from __future__ import annotations

import argparse
from typing import Any

from ops.cli.options import add_command, add_serving, as_path, on_free_ports, seconds
from ops.settings import ROOT

RENDERED = ROOT / "ops" / "observability"


def add_observe(commands: Any) -> None:
    parser = add_command(
        commands,
        "observe",
        run_observe,
        summary="start a server, a Prometheus with the rules and a short load",
        description="Starts the server and a Prometheus with the rules on free ports, sends photos and prints the "
        "addresses of both.",
    )
    add_serving(parser)
    parser.add_argument("--load-s", type=seconds, default=60.0, help="how long to send photos (default: %(default)s)")
    parser.add_argument(
        "--for",
        dest="for_s",
        type=seconds,
        metavar="SECONDS",
        help="how long to keep running after the load (default: until Ctrl-C)",
    )
    parser.add_argument(
        "--draw", type=as_path, metavar="FOLDER", help="draw the panels of each dashboard there as a PNG"
    )


def run_observe(options: argparse.Namespace) -> int:
    from ops.observability.prometheus.observe import observe

    observe(on_free_ports(options), load_s=options.load_s, for_s=options.for_s, preview=options.draw)
    return 0


def add_render(commands: Any) -> None:
    parser = add_command(
        commands,
        "render",
        run_render,
        summary="write rules, Alertmanager example and dashboards from ops/slo.yaml",
        description="Writes rules, an Alertmanager example and dashboards from the objectives in ops/slo.yaml, for the "
        "server that the file describes.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name the files that differ")
    parser.add_argument("--release", metavar="YY.MM", help="release of NVIDIA's image (default: that of slo.yaml)")
    parser.add_argument("--profile", help="hardware profile; '' is config.pbtxt (default: that of slo.yaml)")
    parser.add_argument(
        "--runbooks-url",
        metavar="URL",
        help="the page runbooks/ of the published documentation site: alerts and panels link to it (default: that of "
        "slo.yaml; without one they name the files of this repository)",
    )
    parser.add_argument("--output", type=as_path, default=RENDERED, help="folder to write to (default: %(default)s)")


def run_render(options: argparse.Namespace) -> int:
    from ops.observability.render import check, read_deployment, write

    deployment = read_deployment(release=options.release, profile=options.profile, runbooks=options.runbooks_url)
    if options.check:
        check(deployment, options.output)
        return 0
    for path in write(deployment, options.output):
        print(f"Wrote {options.output / path}")
    return 0
