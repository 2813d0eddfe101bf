"""The command `triptych`. Owns arguments, exit codes and what goes to which stream."""

from __future__ import annotations

import argparse
import io
import os
import sys
import time
from importlib.metadata import version
from typing import TYPE_CHECKING, NoReturn

from triptych.client import DEFAULT_TARGET, DEFAULT_TIMEOUT_S, Client
from triptych.errors import (
    ConnectionFailed,
    ContractMismatch,
    DeadlineExceeded,
    InvalidInput,
    NotReady,
    PermissionDenied,
    TriptychError,
)
from triptych.recognizer import check_top_k
from triptych.report import Table, json_failure, json_result, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXIT_DONE = 0
EXIT_FAILED = 1
# What a shell reports for a process ended by SIGINT and by SIGPIPE.
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141

_DEFAULT_TOP_K = 3

# Not about one photo: the next one would end the same way.
_STOPPING = (ConnectionFailed, NotReady, PermissionDenied, ContractMismatch)

_EPILOG = """\
examples:
  triptych recognize shoe.jpg
  triptych recognize photos/*.jpg --top-k 1 --target gpu-box:8001
  triptych recognize photos/*.jpg --json | jq -r '[.photo, .labels[0].name] | @tsv'

exit codes: 0 every photo was recognised, 1 some were not (listed on stderr), 2 wrong usage
"""


def main(argv: Sequence[str] | None = None, *, open_client: Callable[..., Client] = Client) -> int:
    """Runs the command and returns its exit code; wrong usage raises `SystemExit(2)`, as argparse does."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        return _recognize(*_parse(argv, open_client))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The interpreter flushes stdout on its way out and would complain there.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_PIPE_CLOSED


def _parse(argv: Sequence[str] | None, open_client: Callable[..., Client]) -> tuple[argparse.Namespace, Client]:
    parser = _parser()
    arguments = parser.parse_args(argv)
    try:
        check_top_k(arguments.top_k)
        return arguments, open_client(arguments.target, timeout_s=arguments.timeout)
    except InvalidInput as error:
        refuse: Callable[[str], NoReturn] = arguments.refuse
        refuse(str(error))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="triptych",
        description="Ask a Triptych server what product photos show.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"triptych {version('triptych-client')}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    recognize = commands.add_parser(
        "recognize",
        help="say what photos show",
        description="Say what photos show: the best labels, how likely a shop sells it, how long the answer took.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    recognize.set_defaults(refuse=recognize.error)
    recognize.add_argument("photos", nargs="+", metavar="PHOTO", help="a JPEG, PNG, WebP, GIF, BMP or TIFF file")
    recognize.add_argument(
        "--target", default=DEFAULT_TARGET, metavar="HOST:PORT", help="the server's gRPC address (default: %(default)s)"
    )
    recognize.add_argument(
        "--top-k", type=int, default=_DEFAULT_TOP_K, metavar="K", help="labels for each photo (default: %(default)s)"
    )
    recognize.add_argument(
        "--timeout",
        type=float,
        default=DEFAULT_TIMEOUT_S,
        metavar="SECONDS",
        help="longest wait for one photo (default: %(default)g)",
    )
    recognize.add_argument("--json", action="store_true", help="one JSON object a line, with the embedding")
    return parser


def _recognize(arguments: argparse.Namespace, client: Client) -> int:
    failures: list[str] = []
    recognized = 0
    table = None if arguments.json else Table(arguments.photos)
    with client:
        for photo in arguments.photos:
            started_s = time.perf_counter()
            try:
                recognition = client.recognize(photo, top_k=arguments.top_k)
            except TriptychError as error:
                if table is None:
                    print(json_failure(photo, error), flush=True)
                stops = isinstance(error, _STOPPING) or (isinstance(error, DeadlineExceeded) and not recognized)
                failures.append(str(error) if stops else f"{printable(photo)}: {error}")
                if stops:
                    break
                continue
            latency_ms = (time.perf_counter() - started_s) * 1e3
            if table is None:
                print(json_result(photo, recognition, latency_ms), flush=True)
            else:
                rows = table.rows(photo, recognition, latency_ms)
                print(rows if recognized else f"{table.header()}\n{rows}", flush=True)
            recognized += 1
    return _conclude(failures, recognized, len(arguments.photos))


def _conclude(failures: Sequence[str], recognized: int, asked: int) -> int:
    if not failures:
        return EXIT_DONE
    for failure in failures:
        print(failure, file=sys.stderr)
    print(f"triptych: {recognized} of {asked} photos recognised", file=sys.stderr)
    return EXIT_FAILED
