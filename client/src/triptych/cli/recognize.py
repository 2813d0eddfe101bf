"""`triptych recognize`: labels of photos as a table, as JSON lines, or in a file that a later run resumes."""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any

from triptych._core.recognition import check_min_score, check_top_k
from triptych._images.discovery import find_photos
from triptych.cli.connection_options import OpenClient, add_connection_options, open_connection
from triptych.cli.exit_codes import WrongUsage
from triptych.cli.jobs.job import RESUME_HELP, Earlier, Job, Nothing, Sink, add_photo_arguments
from triptych.cli.jobs.journal import Journal
from triptych.cli.jobs.progress import open_progress
from triptych.cli.report import Table, json_failure, json_result
from triptych.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from triptych.errors import TriptychError
    from triptych.results import Recognition

_DEFAULT_TOP_K = 3
# Names that set the width of the first column.
_MEASURED_NAMES = 1000

_EPILOG = """\
examples:
  triptych recognize shoe.jpg
  triptych recognize photos/ 'more/**/*.png' https://example.com/shoe.jpg
  curl -s https://example.com/shoe.jpg | triptych recognize - --top-k 1
  triptych recognize photos/ --json | jq -r '[.photo, .labels[0].name] | @tsv'

  triptych recognize photos/ --output labels.jsonl
  triptych recognize photos/ --output labels.jsonl --resume  # after Ctrl-C, kill, a crash, or with new photos

The table's columns: the photo; the latency of its answer in milliseconds, with other photos in flight; the probability
that it shows something a shop sells; the probability of each label; the label. A line of JSON has photo, labels,
attributes, retail_score, abstained, embedding, model, model_version, request_id and latency_ms; or photo and error
(class, code, message, retryable, request_id).

A bad photo does not stop the others; a server that does not answer does.
exit codes: 0 all photos were recognised, 1 some were not (listed on stderr), 2 wrong usage, 130 interrupted
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds the subcommand to those of `commands`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "recognize",
        help="recognise what photos show",
        description="Recognise what photos show: the best labels, the probability that a shop sells it, the latency.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_photo_arguments(parser)
    parser.add_argument(
        "--top-k", type=int, default=_DEFAULT_TOP_K, metavar="K", help="labels for each photo (default: %(default)s)"
    )
    parser.add_argument("--min-score", type=float, metavar="P", help="leave out labels below this probability, 0 to 1")
    parser.add_argument("--json", action="store_true", help="print one JSON object per photo, with the embedding")
    parser.add_argument("--output", metavar="FILE", help="write JSON lines to FILE as answers arrive")
    parser.add_argument("--resume", action="store_true", help=RESUME_HELP)
    add_connection_options(parser)
    return parser


def run(arguments: argparse.Namespace, open_client: OpenClient) -> int:
    """Recognises photos; returns the exit code."""
    _check(arguments)
    with contextlib.ExitStack() as stack:
        is_job = arguments.output is not None
        client = stack.enter_context(
            open_connection(arguments, open_client, is_job=is_job, max_in_flight=arguments.in_flight)
        )
        earlier: Earlier = Nothing()
        sink: Sink[Recognition]
        if arguments.output is not None:
            earlier = journal = stack.enter_context(Journal(arguments.output, resume=arguments.resume))
            sink = JsonLines(journal.add, keeps_stop=False)
        elif arguments.json:
            sink = JsonLines(functools.partial(print, flush=True), keeps_stop=True)
        else:
            sink = TableRows(arguments.photos)
        job = Job(arguments.photos, earlier)
        ask = functools.partial(client.recognize_many, top_k=arguments.top_k, min_score=arguments.min_score)
        rows_on_terminal = arguments.output is None and sys.stdout.isatty()
        job.run(ask, sink, open_progress(job.count, job.count_earlier, rows_on_terminal=rows_on_terminal))
    job.conclude("recognised", arguments.output)
    if arguments.output is not None and not job.is_complete and os.path.exists(arguments.output):
        print(f"triptych: {arguments.output} has the answers so far, --resume continues from there", file=sys.stderr)
    return job.exit_code


def _check(arguments: argparse.Namespace) -> None:
    if arguments.resume and arguments.output is None:
        raise WrongUsage("--resume needs the file of the earlier run. Add --output FILE.")
    try:
        check_top_k(arguments.top_k)
        check_min_score(arguments.min_score)
    except InvalidInput as error:
        raise WrongUsage(str(error)) from error


class TableRows:
    """Prints a table on stdout, each row as its answer arrives; failures come at the end."""

    def __init__(self, places: list[str]) -> None:
        names = itertools.islice((found for found in find_photos(places) if isinstance(found, str)), _MEASURED_NAMES)
        columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        self._table = Table(names, columns)
        self._is_begun = False

    def take(self, name: str, value: Recognition) -> None:
        """See `Sink`."""
        rows = self._table.rows(name, value)
        print(rows if self._is_begun else f"{self._table.header()}\n{rows}", flush=True)
        self._is_begun = True

    def take_failure(self, name: str, error: TriptychError) -> None:
        """See `Sink`."""

    take_stop = take_failure


class JsonLines:
    """Writes one JSON object per line."""

    def __init__(self, write: Callable[[str], None], *, keeps_stop: bool) -> None:
        self._write = write
        self._keeps_stop = keeps_stop

    def take(self, name: str, value: Recognition) -> None:
        """See `Sink`."""
        self._write(json_result(name, value))

    def take_failure(self, name: str, error: TriptychError) -> None:
        """See `Sink`."""
        self._write(json_failure(name, error))

    def take_stop(self, name: str, error: TriptychError) -> None:
        """See `Sink`."""
        if self._keeps_stop:
            self.take_failure(name, error)
