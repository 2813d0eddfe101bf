"""`serve` and its options."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ops.cli.options import (
    add_command,
    add_listening,
    add_policy,
    add_server_options,
    add_serving,
    add_setting,
    add_state_dir,
    as_path,
    build_settings,
    percentage,
    positive_number,
    seconds,
    whole_number,
)
from ops.settings import LOG_LEVELS


def add_serve(commands: Any) -> None:
    parser = add_command(commands, "serve", run_serve, summary="start the server and follow its log until Ctrl-C")
    add_listening(parser)
    add_serving(parser)
    running = parser.add_argument_group("how the server runs")
    add_server_options(running)
    add_state_dir(running)
    add_policy(running)
    add_setting(running, "log_level", str, "least severe log line shown", choices=LOG_LEVELS)
    running.add_argument("--quiet", action="store_true", help="show only log lines and errors")
    running.add_argument("--detach", action="store_true", help="run in the background; return when the server is ready")
    running.add_argument(
        "--catalogue-dir",
        type=lambda folder: as_path(folder) if folder else None,
        help="folder of the catalogue store, which is never part of a release (default: `catalogue` in the state "
        "folder)",
    )
    running.add_argument(
        "--open-to-network",
        action="store_true",
        help="allow addresses in --server-option that other machines reach without TLS",
    )
    running.add_argument(
        "--no-restart",
        dest="restart",
        action="store_false",
        help="end with exit code 1 when the server ends unexpectedly (default: restart it, after growing pauses of up "
        "to 60 s)",
    )
    running.add_argument("--restarts", type=int, action=FormerRestarts, dest="restart", help=argparse.SUPPRESS)
    _add_front(parser.add_argument_group("the front, which callers reach"))
    _add_tracing(parser.add_argument_group("tracing"))
    limits = parser.add_argument_group("time limits")
    add_setting(limits, "startup_timeout_s", seconds, "until every model is ready")
    add_setting(limits, "drain_timeout_s", seconds, "for requests in flight during a stop")
    add_setting(limits, "exit_timeout_s", whole_number, "for models to unload during a stop")


def _add_front(front: argparse._ActionsContainer) -> None:
    text = "requests answered in a second, at most, over each of HTTP and gRPC; 0 is no limit"
    add_setting(front, "requests_per_s", whole_number, text, metavar="N")
    text = "share of the requests that access.log in the state folder lists, a line of JSON each"
    add_setting(front, "access_log_percent", percentage, text, metavar="0..100")


class FormerRestarts(argparse.Action):
    """`--restarts N` of the release before: restarts are without number now, and 0 turned them off."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: str | None = None) -> None:
        advice = "restarts are not counted; turn them off with --no-restart."
        print(f"warning: {option} is deprecated and will be removed in the next release: {advice}", file=sys.stderr)
        setattr(namespace, self.dest, values != 0)


def _add_tracing(tracing: argparse._ActionsContainer) -> None:
    tracing.add_argument(
        "--trace-to",
        type=_trace_address,
        metavar="URL",
        help="send OpenTelemetry traces there over OTLP/HTTP, as http://127.0.0.1:4318/v1/traces; '' turns tracing "
        "off (default: off)",
    )
    text = "trace one request in N, and every request with a traceparent"
    add_setting(tracing, "trace_rate", positive_number, text, metavar="N")


def _trace_address(text: str) -> str | None:
    if text and not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text} is not a URL; expected one like http://127.0.0.1:4318/v1/traces")
    return text or None


def run_serve(options: argparse.Namespace) -> int:
    from ops.supervision.serve import serve, serve_detached

    start = serve_detached if options.detach else serve
    start(build_settings(options), quiet=options.quiet)
    return 0
