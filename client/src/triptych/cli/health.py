"""`triptych health`: whether the server recognises photos, for people and for scripts that wait for it."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from triptych._core.deadline import check_timeout
from triptych._core.recognition import MODEL
from triptych.cli.connection_options import OpenClient, add_connection_options, open_connection, target_of
from triptych.cli.exit_codes import EXIT_DONE, EXIT_FAILED, WrongUsage
from triptych.cli.report import failure_fields, json_health
from triptych.errors import InvalidInput, TriptychError

if TYPE_CHECKING:
    from triptych._core.server_state import Health
    from triptych.client import Client

_EPILOG = """\
examples:
  triptych health
  triptych health --wait 60 && triptych recognize photos/
  triptych health --json

exit codes: 0 the server recognises photos, 1 it does not (reason on stderr), 2 wrong usage
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds the subcommand to those of `commands`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "health",
        help="check whether a server, local or remote, is ready to recognise photos",
        description=f"Check whether the server runs and its model {MODEL} is ready.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--wait", type=float, metavar="SECONDS", help="longest wait until the server is ready")
    parser.add_argument("--json", action="store_true", help="print a JSON object, also when no server answers")
    add_connection_options(parser)
    return parser


def run(arguments: argparse.Namespace, open_client: OpenClient) -> int:
    """Checks the server; returns the exit code."""
    if arguments.wait is not None:
        try:
            check_timeout(arguments.wait)
        except InvalidInput as error:
            raise WrongUsage(f"--wait: {error}") from error
    target = target_of(arguments)
    with open_connection(arguments, open_client) as client:
        try:
            health = _ask(client, arguments.wait)
        except TriptychError as error:
            if arguments.json:
                nothing = {"target": target, "live": False, "ready": False, "recognizer_ready": False, "server": ""}
                print(json.dumps({**nothing, "error": failure_fields(error)}), flush=True)
            raise
    print(json_health(target, health) if arguments.json else _sentence(target, health), flush=True)
    return EXIT_DONE if health.recognizer_ready else EXIT_FAILED


def _ask(client: Client, wait_s: float | None) -> Health:
    if wait_s is not None:
        client.wait_ready(wait_s)
    return client.health()


def _sentence(target: str, health: Health) -> str:
    if not health.recognizer_ready:
        return f"{MODEL} is not ready at {target} ({health.server}). `triptych models` shows the reason."
    others = "" if health.ready else "; some other models are not, see `triptych models`"
    return f"{MODEL} is ready at {target} ({health.server}){others}"
