"""`triptych embed`: embeddings of photos in a file for numpy or Parquet readers.

Answers go to a journal beside the output; the output is written from the journal when all photos have an answer.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from triptych.catalogue.file_replacement import replace_files
from triptych.cli.connection_options import OpenClient, add_connection_options, open_connection
from triptych.cli.exit_codes import EXIT_FAILED, CommandFailed, WrongUsage
from triptych.cli.jobs.embedding_files import FORMATS, EmbeddingFile, Record, embedding_file, measure
from triptych.cli.jobs.job import RESUME_HELP, Job, add_photo_arguments
from triptych.cli.jobs.journal import Journal, read_fields
from triptych.cli.jobs.progress import open_progress
from triptych.cli.report import failure_fields

if TYPE_CHECKING:
    from triptych.errors import TriptychError
    from triptych.results import Embedding

_EPILOG = """\
examples:
  triptych embed photos/ --output photos.npy
  triptych embed photos/ --output photos.npy --resume  # after Ctrl-C, kill, a crash, or with new photos
  triptych embed 'shop/**/*.jpg' --output shop.parquet

photos.npy is float32[N,D], each row of L2 norm 1; photos.npy.jsonl beside it has a line for each photo: "row" and
"photo", or "photo" and "error". np.load("photos.npy", mmap_mode="r") reads a file that is larger than memory.
A .parquet file (pip install 'triptych-client[parquet]') has a row for each photo: photo string, embedding
list<float> of D numbers, error string, code string; embedding, or error and code, are null.

Until all photos have an answer there is only photos.npy.part, from which --resume continues; it is about 1.4 times
as large as the output.
exit codes: 0 all photos were embedded, 1 some were not (listed on stderr), 2 wrong usage, 130 interrupted
"""


def add_parser(commands: Any) -> argparse.ArgumentParser:
    """Adds the subcommand to those of `commands`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "embed",
        help="write embeddings of photos to a NumPy or Parquet file",
        description="Write embeddings of photos to a file; the most similar photos have the largest dot product.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_photo_arguments(parser)
    parser.add_argument("--output", required=True, metavar="FILE", help=f"ends in {' or '.join(FORMATS)}")
    parser.add_argument("--resume", action="store_true", help=RESUME_HELP)
    add_connection_options(parser)
    return parser


def run(arguments: argparse.Namespace, open_client: OpenClient) -> int:
    """Embeds photos; returns the exit code."""
    output = embedding_file(arguments.output)
    part = f"{arguments.output}.part"
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(
            open_connection(arguments, open_client, is_job=True, max_in_flight=arguments.in_flight)
        )
        _prepare(output, part, resume=arguments.resume)
        journal = stack.enter_context(Journal(part, resume=arguments.resume))
        job = Job(arguments.photos, journal)
        job.run(
            client.embed_many, _Vectors(journal), open_progress(job.count, job.count_earlier, rows_on_terminal=False)
        )
        is_written = job.is_complete and _finish(output, journal)
    job.conclude("embedded", arguments.output)
    if not is_written:
        has_part = os.path.exists(part)
        hint = f"; {part} has the answers so far, --resume continues from there" if has_part else ""
        print(f"triptych: {arguments.output} is not written{hint}", file=sys.stderr)
    return job.exit_code if is_written else max(job.exit_code, EXIT_FAILED)


class _Vectors:
    """Writes answers as lines of the journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def take(self, name: str, value: Embedding) -> None:
        """See `Sink`."""
        self._journal.add(Record(name, vector=value.vector.astype("<f4", copy=False).tobytes()).line())

    def take_failure(self, name: str, error: TriptychError) -> None:
        """See `Sink`."""
        self._journal.add(Record(name, error=failure_fields(error)).line())

    def take_stop(self, name: str, error: TriptychError) -> None:
        """See `Sink`."""


def _prepare(output: EmbeddingFile, part: str, *, resume: bool) -> None:
    """Restores the journal from a finished output; an existing journal is newer than any output."""
    existing = [path for path in output.paths if os.path.exists(path)]
    if resume and output.path in existing and not os.path.exists(part):
        with replace_files((part,)) as (file,):
            file.writelines(record.line().encode() + b"\n" for record in output.read())
    elif existing and not resume:
        raise WrongUsage(
            f"{existing[0]!r} exists already. Add --resume to continue it, remove it, or choose another output."
        )


def _finish(output: EmbeddingFile, journal: Journal) -> bool:
    """Writes the output and removes the journal; False where no photo has an embedding."""

    def records() -> Iterator[Record]:
        return map(Record.from_fields, read_fields(journal.path))

    rows, size = measure(records())
    if rows:
        try:
            output.write(records(), rows, size)
        except OSError as error:
            raise CommandFailed(
                f"{output.path!r} cannot be written ({error.strerror or error}). Free disk space and run the command "
                "again with --resume: it sends no photo twice."
            ) from error
    with contextlib.suppress(FileNotFoundError):
        os.remove(journal.path)
    return rows > 0
