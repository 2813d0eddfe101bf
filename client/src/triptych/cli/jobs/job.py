"""A run over many photos: requests, failures, when it stops, and the summary at the end."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Callable, Container, Generator, Iterator
from dataclasses import dataclass, field
from typing import Protocol, TypeVar, cast

from triptych._images.discovery import PHOTO_HELP, STDIN, Missing, find_photos, image_of
from triptych._images.photo import ImageLike
from triptych._runtime.configuration import DEFAULT_MAX_IN_FLIGHT
from triptych.cli.exit_codes import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED
from triptych.cli.jobs.progress import Progress
from triptych.cli.report import printable
from triptych.errors import (
    ConnectionFailed,
    ContractMismatch,
    DeadlineExceeded,
    InvalidInput,
    NotReady,
    PermissionDenied,
    TriptychError,
)
from triptych.results import Item
from triptych.sources.photo_files import SkippedFiles

# Errors that do not concern one photo: the next photo would fail too.
_STOPPING = (ConnectionFailed, NotReady, PermissionDenied, ContractMismatch)
_FAILURES_IN_FULL = 20

R = TypeVar("R")
R_contra = TypeVar("R_contra", contravariant=True)

RESUME_HELP = (
    "continue an earlier run with the same FILE: photos with an answer are skipped, and photos that were refused as "
    "unreadable or too large; all other failures are tried again, and new photos are added. Photos are identified by "
    "their names: pass the same arguments in the same folder"
)


class Sink(Protocol[R_contra]):
    """Where the answers of a job go."""

    def take(self, name: str, value: R_contra) -> None:
        """One photo's answer."""

    def take_failure(self, name: str, error: TriptychError) -> None:
        """One photo's failure."""

    def take_stop(self, name: str, error: TriptychError) -> None:
        """The failure that ends the job; it does not concern the photo."""


class Earlier(Protocol):
    """The answers of an earlier run: `Journal`."""

    @property
    def refused(self) -> Container[str]:
        """Photos that were refused finally."""

    def __contains__(self, name: str) -> bool:
        """Whether a photo has an answer or was refused finally."""


class Nothing:
    """There was no earlier run."""

    refused: Container[str] = ()

    def __contains__(self, name: str) -> bool:
        return False


@dataclass
class Job:
    """One run and its counts.

    Attributes:
        places: the arguments PHOTO.
        earlier: the photos that an earlier run finished.
        done, failed: photos with and without an answer in this run.
        skipped, refused: photos that an earlier run answered and that it refused.
        failures: the first failures, as text.
        stop: the error that ended the run early.
        interrupted: whether Ctrl-C ended it.
        no_photos: what in the folders is no photo.
    """

    places: list[str]
    earlier: Earlier = field(default_factory=Nothing)
    done: int = 0
    failed: int = 0
    skipped: int = 0
    refused: int = 0
    failures: list[str] = field(default_factory=list)
    stop: TriptychError | None = None
    interrupted: bool = False
    no_photos: SkippedFiles = field(default_factory=SkippedFiles)

    def run(self, ask: Callable[[Iterator[ImageLike]], Iterator[Item[R]]], sink: Sink[R], progress: Progress) -> None:
        """Sends all photos; stops early when the server stops answering, or at Ctrl-C."""
        # Closing the iterator abandons the requests in flight.
        items = cast("Generator[Item[R]]", ask(self._images(sink)))
        try:
            with contextlib.closing(items):
                for item in items:
                    name = item.source if isinstance(item.source, str) else STDIN
                    if item.error is None:
                        sink.take(name, item.result())
                        self.done += 1
                    elif self._stops(item.error):
                        sink.take_stop(name, item.error)
                        self.stop = item.error
                        break
                    else:
                        self._fail(name, item.error, sink)
                    progress.step(self.failed)
        except KeyboardInterrupt:
            self.interrupted = True
        finally:
            progress.close()

    def count(self) -> int:
        """Counts all photos."""
        return sum(1 for _ in find_photos(self.places))

    def count_earlier(self) -> int:
        """Counts the photos that an earlier run finished."""
        return sum(1 for found in find_photos(self.places) if isinstance(found, str) and found in self.earlier)

    @property
    def is_complete(self) -> bool:
        """Whether all photos were sent."""
        return self.stop is None and not self.interrupted

    @property
    def exit_code(self) -> int:
        """The exit code; photos refused in an earlier run count as failures, because the output lacks them."""
        if self.interrupted:
            return EXIT_INTERRUPTED
        return EXIT_FAILED if self.stop is not None or self.failed or self.refused else EXIT_DONE

    def conclude(self, achieved: str, output: str | None) -> None:
        """Prints failures, skipped files and the summary on stderr; after a success whose results are on stdout, only
        the skipped files.

        Args:
            achieved: the participle of the summary, "recognised" for example.
            output: the output file, None for stdout.
        """
        if self.interrupted and output is None:
            return
        for failure in self.failures:
            print(failure, file=sys.stderr)
        if self.failed > len(self.failures):
            print(f"... and {self.failed - len(self.failures)} more failed", file=sys.stderr)
        if self.stop is not None:
            print(printable(str(self.stop)), file=sys.stderr)
        for skipped in self.no_photos.by_reason():
            print(f"triptych: {skipped}", file=sys.stderr)
        if self.exit_code == EXIT_DONE and output is None:
            return
        asked = self.done + self.failed + self.skipped + self.refused if self.is_complete else self.count()
        earlier = f", {self.skipped} of them earlier" if self.skipped else ""
        refused = f"; {self.refused} refused earlier" if self.refused else ""
        print(f"triptych: {self.done + self.skipped} of {asked} photos {achieved}{earlier}{refused}", file=sys.stderr)

    def _images(self, sink: Sink[R]) -> Iterator[ImageLike]:
        for found in find_photos(self.places, self.no_photos):
            if isinstance(found, Missing):
                self._fail(found.place, found.error, sink)
            elif found in self.earlier:
                if found in self.earlier.refused:
                    self.refused += 1
                else:
                    self.skipped += 1
            else:
                try:
                    image = image_of(found)
                except InvalidInput as error:
                    self._fail(found, error, sink)
                else:
                    yield image

    def _fail(self, name: str, error: TriptychError, sink: Sink[R]) -> None:
        sink.take_failure(name, error)
        self.failed += 1
        if len(self.failures) < _FAILURES_IN_FULL:
            self.failures.append(printable(f"{name}: {error}"))

    def _stops(self, error: TriptychError) -> bool:
        return isinstance(error, _STOPPING) or (isinstance(error, DeadlineExceeded) and not self.done)


def add_photo_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that `recognize` and `embed` share."""
    parser.add_argument("photos", nargs="+", metavar="PHOTO", help=PHOTO_HELP)
    parser.add_argument(
        "--in-flight",
        type=int,
        metavar="N",
        help=f"photos in flight at once; results keep their order (default: {DEFAULT_MAX_IN_FLIGHT})",
    )
