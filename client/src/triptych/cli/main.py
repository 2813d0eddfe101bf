"""The entry point of the command: subcommands, streams and exit codes."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING

from triptych._images.discovery import STDIN
from triptych.cli import catalogue, embed, explain, health, models, recognize, search
from triptych.cli.command_tree import CommandTree, Parser
from triptych.cli.exit_codes import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_PIPE_CLOSED, CommandFailed, WrongUsage
from triptych.cli.report import printable
from triptych.client import Client
from triptych.errors import TriptychError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from triptych.cli.connection_options import OpenClient

OWN_COMMANDS = {
    command.__name__.rpartition(".")[2]: command
    for command in (recognize, embed, search, explain, catalogue, models, health)
}
# Former words -> words now; accepted for one release.
RENAMED = {"catalogue import-embeddings": "catalogue import"}
# Without a file name, these come from a write: nothing that was read returns them.
_WRITE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_EPILOG = """\
examples:
  triptych health --wait 60
  triptych recognize shoe.jpg
  triptych recognize photos/ --output labels.jsonl --resume
  triptych embed photos/ --output photos.npy
  triptych catalogue import products.csv
  triptych search shoe.jpg --sheet out.png
  triptych explain shoe.jpg -o out.png

Each command has its own --help. The connection options are also read from the environment: TRIPTYCH_TARGET,
TRIPTYCH_TIMEOUT_S, TRIPTYCH_TRANSPORT, TRIPTYCH_PRIORITY, TRIPTYCH_TLS_CA, TRIPTYCH_TLS_CERT, TRIPTYCH_TLS_KEY,
TRIPTYCH_API_KEY, TRIPTYCH_CATALOGUE_KEY_FILE.

exit codes: 0 done, 1 something failed (message on stderr), 2 wrong usage, 130 interrupted, 141 output closed
"""


def main(argv: Sequence[str] | None = None, *, open_client: OpenClient = Client.from_env) -> int:
    """Runs the command and returns its exit code; wrong usage raises `SystemExit(2)`, as argparse does."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = _parse(sys.argv[1:] if argv is None else argv, open_client)
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except (CommandFailed, TriptychError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        _discard_stdout()
        return EXIT_PIPE_CLOSED
    except OSError as error:
        _discard_stdout()
        return _fail(_describe(error))
    return code


def _parse(argv: Sequence[str], open_client: OpenClient) -> argparse.Namespace:
    """Takes photos behind options too, which argparse alone does not do for subcommands."""
    arguments: argparse.Namespace
    is_own = bool(argv) and argv[0] in OWN_COMMANDS
    arguments, rest = make_parser(open_client, with_installed=not is_own).parse_known_args(argv)
    if rest:
        unknown = [word for word in rest if word.startswith("-") and word != STDIN]
        if unknown or not isinstance(getattr(arguments, "photos", None), list):
            refuse: Parser = arguments.parser
            refuse.error(f"unrecognized arguments: {' '.join(unknown or rest)}")
        arguments.photos += rest
    return arguments


def make_parser(open_client: OpenClient = Client.from_env, *, with_installed: bool = True) -> Parser:
    """The parser of all commands; those of a checkout take 0.4 s to import (2-core AMD EPYC)."""
    tree = CommandTree("Product-image recognition: ask a server, teach it, run it.", _EPILOG)
    tree.parser.add_argument("--version", action="version", version=f"triptych {version('triptych-client')}")
    section = tree.add_section("ask a server")
    for command in OWN_COMMANDS.values():
        command.add_parser(section).set_defaults(run=partial(_run, command.run, open_client))
    tree.add_former((RENAMED, {}))
    if with_installed:
        tree.add_installed()
    return tree.finish()


def _run(
    run: Callable[[argparse.Namespace, OpenClient], int], open_client: OpenClient, arguments: argparse.Namespace
) -> int:
    try:
        return run(arguments, open_client)
    except WrongUsage as error:
        refuse: Parser = arguments.parser
        refuse.error(str(error))


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.filename is not None:
        return f"{error.filename}: {reason}."
    if error.errno in _WRITE_ERRORS:
        return f"The output cannot be written ({reason})."
    return f"An input or output failed: {reason}."


def _fail(sentence: str) -> int:
    print(f"triptych: {printable(sentence)}", file=sys.stderr)
    return EXIT_FAILED


def _discard_stdout() -> None:
    """Redirects stdout to /dev/null: the interpreter flushes it at exit and would print an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
