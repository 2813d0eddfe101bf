"""`python -m ops COMMAND`: builds the settings, turns errors into a sentence and an exit code."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ops.errors import OpsError
from ops.settings import LOG_LEVELS, REPOSITORY, ROOT, STATE_DIR, Settings

EXAMPLES = """examples:
  python -m ops serve                        serve ./model_repository until Ctrl-C
  python -m ops serve --detach               the same in the background
  python -m ops serve --trace-to http://127.0.0.1:4318/v1/traces
                                             send traces to an OpenTelemetry collector
  python -m ops status --json                endpoints, models, memory; exit 0 when ready
  python -m ops reload releases/x-0123456789ab
                                             serve another release, losing no request
  python -m ops stop                         stop it, losing no request in flight
  python -m ops check                        what would go wrong, before it does
  python -m ops observe                      server, Prometheus with the rules, a short load; until Ctrl-C
  python -m ops run -- pytest -m e2e         a server of its own for as long as the command runs
  python -m ops serve --http-port 0 --grpc-port 0 --metrics-port 0 --state-dir /tmp/second
                                             a second server beside it, on free ports

exit codes: 0 done, 1 a check or the server failed, 2 wrong usage
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops",
        description="Run the model repository on this machine with the real Triton server.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="start the server and follow its log", allow_abbrev=False))
    run = commands.add_parser(
        "run",
        help="start a server on free ports, run a command beside it, stop the server",
        description="The command finds the server in TRIPTYCH_TARGET, TRIPTYCH_HTTP_URL, TRIPTYCH_METRICS_URL and "
        "TRIPTYCH_SERVER_PID. The exit code is the command's.",
        allow_abbrev=False,
    )
    _add_serving(run)
    run.add_argument("words", nargs="+", metavar="COMMAND", help="the command and its arguments, after --")
    _add_render(commands.add_parser("render", help="make rules and dashboards of ops/slo.yaml", allow_abbrev=False))
    _add_observe(commands.add_parser("observe", help="server, Prometheus and a short load", allow_abbrev=False))
    _add_check(commands.add_parser("check", help="what would go wrong, before it does", allow_abbrev=False))
    status = commands.add_parser("status", help="say what the server is doing", allow_abbrev=False)
    status.add_argument("--json", action="store_true", help="print it as JSON")
    stop = commands.add_parser("stop", help="stop the server", allow_abbrev=False)
    reload = commands.add_parser(
        "reload",
        help="make the server take another release, losing no request",
        description="The release is loaded beside the one that is served and asked its golden requests; only when "
        "every answer is as its manifest says does it take over. Needs memory for both.",
        allow_abbrev=False,
    )
    reload.add_argument(
        "release",
        type=Path,
        nargs="?",
        help="folder of the release, or a link to it; none: the one the server was started from, which may point "
        "elsewhere by now",
    )
    reload.add_argument(
        "--load-timeout-s",
        type=_seconds,
        default=Settings().startup_timeout_s,
        help="for one model to load (%(default)s)",
    )
    for command in (status, stop, reload):
        command.add_argument("--state-dir", type=Path, default=STATE_DIR, help="that of the server (%(default)s)")
    return parser


def _add_render(parser: argparse.ArgumentParser) -> None:
    parser.description = "Writes rules, an Alertmanager example and dashboards. ops/slo.yaml says for which server."
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 and name what differs")
    parser.add_argument("--release", metavar="YY.MM", help="of NVIDIA's image, instead of slo.yaml's")
    parser.add_argument("--profile", help="instead of slo.yaml's; '' is config.pbtxt for all models")
    parser.add_argument("--output", type=Path, default=ROOT / "ops", help="folder to write below (%(default)s)")


def _add_observe(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Starts the server and a Prometheus with the rules on free ports, sends photos, and says where to look."
    )
    _add_serving(parser)
    parser.add_argument("--load-s", type=_seconds, default=60.0, help="how long photos are sent (%(default)s)")
    parser.add_argument(
        "--for", dest="for_s", type=_seconds, metavar="SECONDS", help="stay so long after it (default: until Ctrl-C)"
    )
    parser.add_argument("--draw", type=Path, metavar="FOLDER", help="draw the dashboards' panels there, as PNG")


def _add_check(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Looks at models, weights, cores, shared memory, ports and versions as `serve` would use them, or at what a "
        "running server lets strangers do. A line a finding, each with what to do; exit 1 when one is an error."
    )
    _add_listening(parser)
    _add_serving(parser)
    _add_server_options(parser)
    parser.add_argument("--url", metavar="http://HOST:PORT", help="look at that running server's HTTP endpoint instead")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    _add_listening(parser)
    _add_serving(parser)
    running = parser.add_argument_group("how it runs")
    running.add_argument("--log-level", choices=LOG_LEVELS, default=default.log_level, help="least severe line shown")
    _add_server_options(running)
    running.add_argument(
        "--trace-to",
        type=_trace_address,
        default=default.trace_to,
        metavar="URL",
        help="send OpenTelemetry traces there over OTLP/HTTP, as http://127.0.0.1:4318/v1/traces; '' is nowhere",
    )
    running.add_argument(
        "--trace-rate",
        type=_positive,
        default=default.trace_rate,
        help="trace one request of so many, and every one that has a traceparent",
    )
    running.add_argument("--quiet", action="store_true", help="show only log lines and errors")
    running.add_argument("--detach", action="store_true", help="run in the background; return when ready")
    running.add_argument("--state-dir", type=Path, default=STATE_DIR, help="where state and log are kept")
    running.add_argument(
        "--catalogue-dir",
        type=lambda folder: Path(folder) if folder else None,
        default=default.catalogue_dir,
        help="where the catalogue is kept, `catalogue` in the state folder when not given; never part of a release",
    )
    running.add_argument(
        "--open-to-network",
        action="store_true",
        help="let --server-option name addresses that other machines reach without TLS",
    )
    running.add_argument(
        "--restarts",
        type=_whole_number,
        default=default.restarts,
        help="how often a server that died by itself is started anew, within 10 minutes; 0 leaves that to others",
    )
    limits = parser.add_argument_group("time limits")
    limits.add_argument("--startup-timeout-s", type=_seconds, default=default.startup_timeout_s, help="until ready")
    limits.add_argument(
        "--drain-timeout-s", type=_seconds, default=default.drain_timeout_s, help="for requests in flight, at a stop"
    )
    limits.add_argument(
        "--exit-timeout-s", type=_whole_number, default=default.exit_timeout_s, help="for models to unload, at a stop"
    )


def _add_server_options(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--server-option",
        dest="server_options",
        action="append",
        default=[],
        metavar="OPTION",
        help="a further option of tritonserver, as in --server-option=--grpc-use-ssl=true; may be repeated",
    )


def _add_listening(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    listening = parser.add_argument_group("where it listens, on 127.0.0.1; 0 is a free port")
    listening.add_argument("--http-port", type=int, default=default.http_port, help="KServe v2 over HTTP")
    listening.add_argument("--grpc-port", type=int, default=default.grpc_port, help="KServe v2 over gRPC")
    listening.add_argument("--metrics-port", type=int, default=default.metrics_port, help="Prometheus metrics")


def _add_serving(parser: argparse.ArgumentParser) -> None:
    default = Settings()
    serving = parser.add_argument_group("what it serves")
    serving.add_argument("--repository", type=Path, default=REPOSITORY, help="the model repository")
    serving.add_argument(
        "--profile",
        type=lambda name: name or None,
        default=default.profile,
        help="use each model's configs/PROFILE.pbtxt where it has one; '' is config.pbtxt for all",
    )
    serving.add_argument(
        "--cache-mb", type=_whole_number, default=default.cache_mb, help="answers to repeated photos; 0 is none"
    )


def _seconds(text: str) -> float:
    value = float(text)
    if value < 0 or value != value:
        raise argparse.ArgumentTypeError(f"{text} is not a number of seconds; expected 0 or more")
    return value


def _whole_number(text: str) -> int:
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is below 0; expected 0 or more")
    return value


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is below 1; expected 1 or more")
    return value


def _trace_address(text: str) -> str | None:
    if text and not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"{text} is no address; expected one like http://127.0.0.1:4318/v1/traces")
    return text or None


def build_settings(arguments: argparse.Namespace) -> Settings:
    return Settings(
        repository=arguments.repository,
        http_port=arguments.http_port,
        grpc_port=arguments.grpc_port,
        metrics_port=arguments.metrics_port,
        profile=arguments.profile,
        cache_mb=arguments.cache_mb,
        catalogue_dir=arguments.catalogue_dir.absolute() if arguments.catalogue_dir is not None else None,
        log_level=arguments.log_level,
        trace_to=arguments.trace_to,
        trace_rate=arguments.trace_rate,
        state_dir=arguments.state_dir,
        startup_timeout_s=arguments.startup_timeout_s,
        drain_timeout_s=arguments.drain_timeout_s,
        exit_timeout_s=arguments.exit_timeout_s,
        restarts=arguments.restarts,
        open_to_network=arguments.open_to_network,
        server_options=tuple(arguments.server_options),
    )


def run(arguments: argparse.Namespace) -> int:
    # Imported late: `--help` and `stop` should not wait for gRPC.
    if arguments.command == "status":
        from ops.status import show_status

        return show_status(arguments.state_dir, as_json=arguments.json)
    if arguments.command == "run":
        from ops.run import run_beside

        settings = Settings(
            repository=arguments.repository,
            profile=arguments.profile,
            cache_mb=arguments.cache_mb,
            http_port=0,
            grpc_port=0,
            metrics_port=0,
        )
        return run_beside(settings, arguments.words)
    if arguments.command == "render":
        return _render(arguments)
    if arguments.command == "observe":
        return _observe(arguments)
    if arguments.command == "check":
        return _check(arguments)
    if arguments.command == "stop":
        from ops.status import stop

        stop(arguments.state_dir)
        return 0
    if arguments.command == "reload":
        from ops.reload import reload

        print(reload(arguments.state_dir, arguments.release, arguments.load_timeout_s))
        return 0
    from ops.serve import serve, serve_detached

    start = serve_detached if arguments.detach else serve
    start(build_settings(arguments), quiet=arguments.quiet)
    return 0


def _render(arguments: argparse.Namespace) -> int:
    from ops.render import check, read_deployment, write

    deployment = read_deployment(release=arguments.release, profile=arguments.profile)
    if arguments.check:
        check(deployment, arguments.output)
    else:
        for path in write(deployment, arguments.output):
            print(f"Wrote {arguments.output / path}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    from ops.preflight import check

    settings = Settings(
        repository=arguments.repository,
        profile=arguments.profile,
        cache_mb=arguments.cache_mb,
        http_port=arguments.http_port,
        grpc_port=arguments.grpc_port,
        metrics_port=arguments.metrics_port,
        server_options=tuple(arguments.server_options),
    )
    return check(settings, arguments.url)


def _observe(arguments: argparse.Namespace) -> int:
    from ops.observe import observe

    settings = Settings(
        repository=arguments.repository,
        profile=arguments.profile,
        cache_mb=arguments.cache_mb,
        http_port=0,
        grpc_port=0,
        metrics_port=0,
    )
    observe(settings, load_s=arguments.load_s, for_s=arguments.for_s, preview=arguments.draw)
    return 0


def main(words: list[str] | None = None) -> int:
    arguments = build_parser().parse_args(words)
    try:
        return run(arguments)
    except OpsError as error:
        print(f"{error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
