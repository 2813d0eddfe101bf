"""Command line of the export room: `python -m export COMMAND`; each command's module brings its own parser."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from rich.console import Console

from export import (
    bulk_embedding_command,
    difference,
    inspection,
    place_command,
    publish,
    quantize_command,
    release,
    verify,
)
from export.errors import ExportError
from export.labelling import command as labelling_command
from export.training import command as train_command


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 a check failed, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    # With --json the one object is all there is on stdout.
    console = Console(highlight=False, soft_wrap=True, stderr=options.json)
    try:
        report: dict[str, Any] = options.run(options, console)
    except ExportError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except OSError as error:  # a full disk under the temporary folder, a file that may not be read
        print(f"error: {error}. Nothing was changed.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.json:
        print(json.dumps(report))
    return int(report.get("exit_code", 0))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m export",
        description="Weights -> verified files in a model repository that Triton serves -> releases.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (
        train_command,
        labelling_command,
        place_command,
        quantize_command,
        release,
        verify,
        publish,
        inspection,
        difference,
        bulk_embedding_command,
    ):
        command.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
