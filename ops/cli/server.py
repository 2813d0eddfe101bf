"""`run`, `status`, `logs`, `version`, `reload`, `restart`, `stop`, `check`: about one server; `serve` has a module."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
from typing import Any

from ops.cli.options import (
    add_command,
    add_listening,
    add_policy,
    add_server_options,
    add_serving,
    add_state_dir,
    as_path,
    build_settings,
    on_free_ports,
    seconds,
    whole_number,
)
from ops.errors import WrongUsage
from ops.proxies import exempt_loopback
from ops.settings import LOG_LEVELS, Settings


def add_run(commands: Any) -> None:
    parser = add_command(
        commands,
        "run",
        run_beside,
        summary="run one command with a server of its own on free ports, then stop the server",
        description="Starts a server on free ports, runs a command and stops the server. The command reads the "
        "server's addresses from TRIPTYCH_TARGET, TRIPTYCH_HTTP_URL and TRIPTYCH_METRICS_URL, its pid from "
        "TRIPTYCH_SERVER_PID, the file of the catalogue key from TRIPTYCH_CATALOGUE_KEY_FILE, and what passes by the "
        "front, for measurements, from TRIPTYCH_INNER_TARGET and TRIPTYCH_FRONT_KEY; its no_proxy names this "
        "machine. The exit code is that of the command.",
    )
    add_serving(parser)
    parser.add_argument("words", nargs="+", metavar="COMMAND", help="the command and its arguments, after --")


def run_beside(options: argparse.Namespace) -> int:
    """Returns the command's exit code; as in a shell, 128 + the number of the signal that ended the command.

    Raises:
        OpsError: the server did not start.
        WrongUsage: the command does not exist.
    """
    from ops.server.local_server import LocalServer

    with LocalServer(on_free_ports(options)) as server:
        print(f"Server ready after {server.ready_after_s:.1f} s; metrics at {server.metrics_url}", file=sys.stderr)
        addresses = {
            "TRIPTYCH_TARGET": server.grpc_target,
            "TRIPTYCH_HTTP_URL": server.http_url,
            "TRIPTYCH_METRICS_URL": server.metrics_url,
            "TRIPTYCH_SERVER_PID": str(server.pid),
            "TRIPTYCH_CATALOGUE_KEY_FILE": str(server.catalogue_key_file),
            "TRIPTYCH_INNER_TARGET": server.inner_ports.grpc_target,
            "TRIPTYCH_FRONT_KEY": server.front_key,
        }
        try:
            exit_code = subprocess.run(
                options.words, env={**exempt_loopback(os.environ), **addresses}, check=False
            ).returncode
        except OSError as error:
            raise WrongUsage(f"Cannot run {options.words[0]} ({error.strerror}). Name a program after --.") from error
        except KeyboardInterrupt:
            exit_code = 130
    return exit_code if exit_code >= 0 else 128 - exit_code


def add_status(commands: Any) -> None:
    parser = add_command(
        commands,
        "status",
        run_status,
        summary="show the server that `serve` started on this machine: phase, endpoints, models, traffic, memory",
        description="Shows the server that `serve` started on this machine: phase, endpoints, models, requests per "
        "second, latency, errors, waiting requests, memory, restarts; after a crash the last lines of its logs. Exit "
        "code 0: it is ready. 1: it is stopped, starts, recovers, stops or does not answer. 3: it crashed: its "
        "supervisor ended without a clean stop, or the server ended and waits for its restart. `triptych health` asks "
        "any server.",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_state_dir(parser)


def run_status(options: argparse.Namespace) -> int:
    from ops.server.reports.status import show_status

    return show_status(options.state_dir, as_json=options.json)


def add_logs(commands: Any) -> None:
    parser = add_command(
        commands,
        "logs",
        run_logs,
        summary="show the logs of the server and of its supervisor, also of one in the background",
        description="Shows the last lines of the supervisor's log and of the server's, without the tables of Triton; "
        "the files have them all.",
    )
    parser.add_argument("--previous", action="store_true", help="show the logs of the run before")
    parser.add_argument("--follow", "-f", action="store_true", help="go on until Ctrl-C, also over restarts")
    parser.add_argument("--lines", "-n", type=whole_number, default=50, help="lines of each log at first (%(default)s)")
    parser.add_argument(
        "--log-level", choices=LOG_LEVELS, default="info", help="least severe log line shown (%(default)s)"
    )
    add_state_dir(parser)


def run_logs(options: argparse.Namespace) -> int:
    from ops.server.reports.log_view import show_logs
    from ops.server.state import StateFolder

    folder = StateFolder(options.state_dir.absolute())
    lines = show_logs(folder, options.lines, options.log_level, previous=options.previous, forever=options.follow)
    with contextlib.suppress(KeyboardInterrupt):
        for line in lines:
            print(line, flush=options.follow)
    return 0


def add_version(commands: Any) -> None:
    parser = add_command(
        commands,
        "version",
        run_version,
        summary="show the versions of Triptych, of the server, of the release and of the packages that decide",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_state_dir(parser)


def run_version(options: argparse.Namespace) -> int:
    from ops.server.reports.versions import describe_versions, read_versions

    versions = read_versions(options.state_dir)
    print(json.dumps(versions, indent=2) if options.json else "\n".join(describe_versions(versions)))
    return 0


def add_reload(commands: Any) -> None:
    parser = add_command(
        commands,
        "reload",
        run_reload,
        summary="replace the release that the server serves, without losing a request",
        description="Loads the release into a second server and sends it the release's golden requests. When every "
        "answer matches the manifest, the running server loads the release. Needs memory for both.",
    )
    parser.add_argument(
        "release",
        type=as_path,
        nargs="?",
        help="folder of the release, or a link to it (default: the path that the server was started from, which may "
        "be a link to another release by now)",
    )
    default = Settings().startup_timeout_s
    help_text = "for one model to load (default: %(default)s)"
    parser.add_argument("--load-timeout-s", type=seconds, default=default, help=help_text)
    add_policy(parser, default="the --key of `serve`")
    add_state_dir(parser)


def run_reload(options: argparse.Namespace) -> int:
    from ops.release import Policy
    from ops.supervision.reload import reload

    policy = Policy(options.key, options.require_signature)
    print(reload(options.state_dir, options.release, options.load_timeout_s, policy))
    return 0


def add_stop(commands: Any) -> None:
    add_state_dir(
        add_command(commands, "stop", run_stop, summary="stop the server, without losing a request in flight")
    )


def run_stop(options: argparse.Namespace) -> int:
    from ops.supervision.stopping import stop

    print(stop(options.state_dir))
    return 0


def add_restart(commands: Any) -> None:
    parser = add_command(
        commands,
        "restart",
        run_restart,
        summary="stop the server without losing a request in flight, and start it with the same options",
        description="Checks what would be served, then has the supervisor drain and stop the server and start anew, "
        "with the same options, ports and process id, and with the code that is installed now. Callers get errors for "
        "some seconds; `triptych reload` replaces a release without them.",
    )
    default = Settings().startup_timeout_s
    help_text = "until every model is ready again (default: %(default)s)"
    parser.add_argument("--startup-timeout-s", type=seconds, default=default, help=help_text)
    add_state_dir(parser)


def run_restart(options: argparse.Namespace) -> int:
    from ops.supervision.stopping import restart

    print(restart(options.state_dir, options.startup_timeout_s))
    return 0


def add_check(commands: Any) -> None:
    parser = add_command(
        commands,
        "check",
        run_check,
        summary="check this machine and its repository before `serve`, or the access to a running server",
        description="Checks models, weights or release, cores, versions, packages, shared memory, ports, memory, disk "
        "and permissions as `serve` would need them; beside your own server, whether it is ready. With --url, checks "
        "the access to a running server. Prints one line for each finding, with its fix; exit 1 when a finding is an "
        "error.",
    )
    add_listening(parser)
    add_serving(parser)
    add_server_options(parser)
    add_state_dir(parser)
    parser.add_argument("--url", metavar="http://HOST:PORT", help="check the running server at this HTTP endpoint")


def run_check(options: argparse.Namespace) -> int:
    from ops.check import check

    return check(build_settings(options), options.url)
