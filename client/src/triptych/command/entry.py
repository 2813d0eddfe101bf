"""Where the command begins: subcommands, streams and exit codes."""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, NoReturn

from triptych.client import Client
from triptych.command import catalogue, embed, explain, health, models, recognize, search
from triptych.command.exits import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PIPE_CLOSED, CommandFailed, WrongUsage
from triptych.command.report import printable
from triptych.errors import TriptychError
from triptych.photo_places import STDIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from triptych.command.connecting import OpenClient

_EPILOG = """\
examples:
  triptych health --wait 60
  triptych recognize shoe.jpg
  triptych recognize photos/ --output labels.jsonl --resume
  triptych embed photos/ --output photos.npy
  triptych catalogue import products.csv
  triptych search shoe.jpg --sheet out.png
  triptych explain shoe.jpg -o out.png

Each command has a --help of its own. The connection is also read from the environment: TRIPTYCH_TARGET,
TRIPTYCH_TIMEOUT_S, TRIPTYCH_TRANSPORT, TRIPTYCH_TLS_CA, TRIPTYCH_TLS_CERT, TRIPTYCH_TLS_KEY, TRIPTYCH_API_KEY.

exit codes: 0 done, 1 something failed (said on stderr), 2 wrong usage, 130 interrupted
"""


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in its last words, not after a screen of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nMore: {self.prog} --help\n")


def main(argv: Sequence[str] | None = None, *, open_client: OpenClient = Client.from_env) -> int:
    """Runs the command and returns its exit code; wrong usage raises `SystemExit(2)`, as argparse does."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    arguments = _parse(argv)
    try:
        code: int = arguments.run(arguments, open_client)
    except WrongUsage as error:
        refuse: _Parser = arguments.parser
        refuse.error(str(error))
    except (CommandFailed, TriptychError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _give_stdout_up()
        return EXIT_PIPE_CLOSED
    except OSError as error:
        _give_stdout_up()
        return _fail(f"{error.filename or 'The standard output'} cannot be written ({error.strerror or error}).")
    return code


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Takes photos behind options too, which argparse alone does not do for subcommands."""
    arguments, rest = _parser().parse_known_args(argv)
    if rest:
        unknown = [word for word in rest if word.startswith("-") and word != STDIN]
        if unknown or "photos" not in arguments:
            refuse: _Parser = arguments.parser
            refuse.error(f"unrecognized arguments: {' '.join(unknown or rest)}")
        arguments.photos += rest
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="triptych",
        description="Ask a Triptych server what product photos show.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"triptych {version('triptych-client')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in (recognize, embed, search, explain, catalogue, models, health):
        subparser = command.add_parser(commands)
        subparser.set_defaults(run=command.run, parser=subparser)
    return parser


def _fail(sentence: str) -> int:
    print(f"triptych: {printable(sentence)}", file=sys.stderr)
    return EXIT_FAILED


def _give_stdout_up() -> None:
    """The interpreter flushes stdout on its way out and would complain there."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
