"""`triptych models`: the models in the server's repository."""

from __future__ import annotations

import argparse
from typing import Any

from triptych.cli.connection_options import OpenClient, add_connection_options, open_connection
from triptych.cli.exit_codes import EXIT_DONE
from triptych.cli.report import json_model, models_table

_EPILOG = """\
examples:
  triptych models
  triptych models --target gpu-box:8001 --json | jq -r 'select(.ready | not) | .name + ": " + .reason'

exit codes: 0 listed, 1 the server did not answer, 2 wrong usage
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds the subcommand to those of `commands`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "models",
        help="list the models of a server, local or remote: versions, states, tensors",
        description="List all models in the server's repository: versions, states, batch sizes, tensors.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per model, one per line")
    add_connection_options(parser)
    return parser


def run(arguments: argparse.Namespace, open_client: OpenClient) -> int:
    """Lists the models; returns the exit code."""
    with open_connection(arguments, open_client) as client:
        models = client.models()
    print("\n".join(map(json_model, models)) if arguments.json else models_table(models), flush=True)
    return EXIT_DONE
