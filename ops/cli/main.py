"""`python -m ops COMMAND`: puts the commands together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import Any

from ops.cli.observability import add_observe, add_render
from ops.cli.packaging import add_chart, add_image, add_release_check, add_sbom
from ops.cli.serve import add_serve
from ops.cli.server import (
    add_check,
    add_logs,
    add_reload,
    add_restart,
    add_run,
    add_status,
    add_stop,
    add_version,
)

EXAMPLES = """examples:
  triptych serve                 serve ./model_repository until Ctrl-C
  triptych serve --detach        the same in the background
  triptych serve --trace-to http://127.0.0.1:4318/v1/traces
                                 send traces to an OpenTelemetry collector
  triptych status --json         endpoints, models, memory; exit 0 when ready
  triptych reload releases/x-0123456789ab
                                 serve another release, without losing a request
  triptych logs --follow         follow the log of a server in the background
  triptych restart               stop it and start it with the same options
  triptych stop                  stop the server, without losing a request in flight
  triptych check                 report what would keep `serve` from working
  triptych observe               a server, a Prometheus with the rules, a short load; until Ctrl-C
  triptych run -- pytest -m e2e  a server on free ports for the time of one command
  triptych serve --http-port 0 --grpc-port 0 --metrics-port 0 --state-dir /tmp/second
                                 a second server on free ports

exit codes: 0 done, 1 a check or the server failed, 2 wrong usage, 3 `status`: the server crashed, 141 output closed
"""
# Title in the help of `triptych` -> commands. `chart` and `release-check` are for this repository alone.
SECTIONS = {
    "run a server": (
        add_serve,
        add_run,
        add_status,
        add_logs,
        add_reload,
        add_restart,
        add_stop,
        add_check,
        add_version,
        add_observe,
    ),
    "package for production": (add_render, add_image, add_sbom),
}
OF_THE_REPOSITORY = (add_chart, add_release_check)


def add_commands(add_section: Callable[[str], Any]) -> None:
    """Adds the commands to `triptych`: the entry point `ops` of the group `triptych.commands`.

    Args:
        add_section: title of a section in the help -> an object with argparse's `add_parser`.
    """
    for title, commands in SECTIONS.items():
        section = add_section(title)
        for add in commands:
            add(section)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops",
        description="Run and observe the real Triton server on this machine; package it for production.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_commands(lambda title: commands)
    for add in OF_THE_REPOSITORY:
        add(commands)
    return parser


def run_former_module(command: str) -> int:
    """`python -m ops.COMMAND`, which was a module of its own before; returns the exit code."""
    print(f"warning: `python -m ops.{command}` is deprecated; use `python -m ops {command}`.", file=sys.stderr)
    return main([command, *sys.argv[1:]])


def main(words: list[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 a check or the server failed, 2 wrong usage, 3 crashed, 141 output closed."""
    options = build_parser().parse_args(words)
    exit_code: int = options.run(options)
    return exit_code
