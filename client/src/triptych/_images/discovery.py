"""Finds the photos that an argument names: files, folders, patterns, URLs, standard input. Reads no photo."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triptych._images.photo import ImageLike
from triptych.errors import InvalidInput
from triptych.sources.photo_files import PHOTO_SUFFIXES, Skip, SkippedFile, SkippedFiles, printable_path, walk_photos

STDIN = "-"
SUFFIXES = PHOTO_SUFFIXES

PHOTO_HELP = (
    "a file; a folder, which is searched recursively (without hidden folders, thumbnails, caches, and links to "
    "folders outside) for files with the suffix or the first bytes of a photo; a quoted pattern, 'photos/**/*.jpg'; an "
    "http(s) URL; or - for one photo on standard input"
)


@dataclass(frozen=True)
class Missing:
    """An argument or folder without photos, and the reason."""

    place: str
    error: InvalidInput


def find_photos(places: Sequence[str], skipped: SkippedFiles | None = None) -> Iterator[str | Missing]:
    """Yields the names of photos, each once, in a stable order.

    Lists one folder at a time. For several places the names are kept in memory, to detect duplicates.

    Args:
        places: the arguments of a command.
        skipped: counts what in their folders is no photo.
    """
    named: set[str] = set()
    seen = SkippedFiles() if skipped is None else skipped
    for place in places:
        for found in _at(place, seen):
            if len(places) > 1 and isinstance(found, str):
                if found in named:
                    continue
                named.add(found)
            yield found


def image_of(name: str) -> ImageLike:
    """The photo for a client; raises `InvalidInput` when standard input is a terminal."""
    if name != STDIN:
        return name
    if sys.stdin.isatty():
        raise InvalidInput("Standard input is a terminal; expected one photo. Pipe it in: triptych ... - < shoe.jpg")
    return sys.stdin.buffer.read()


def _at(place: str, skipped: SkippedFiles) -> Iterator[str | Missing]:
    if os.path.isdir(place):
        yield from _or_missing(
            place,
            _in_folder(place, skipped),
            f"The folder {place!r} holds no photo; expected files {' '.join(SUFFIXES)}.",
        )
    elif place.startswith(("http://", "https://")) or os.path.lexists(place) or not glob.has_magic(place):
        yield place
    else:
        yield from _or_missing(
            place,
            _matching(place, skipped),
            f"No file matches {place!r}. Check the pattern; ** stands for folders at any depth.",
        )


def _or_missing(place: str, found: Iterator[str | Missing], sentence: str) -> Iterator[str | Missing]:
    first = next(found, None)
    if first is None:
        yield Missing(place, InvalidInput(sentence))
        return
    yield first
    yield from found


def _in_folder(folder: str, skipped: SkippedFiles) -> Iterator[str | Missing]:
    unread: list[Missing] = []
    for found in walk_photos(_plain(folder)):
        if isinstance(found, str):
            yield _without_dot(found)
        elif not found.is_folder and found.reason in (Skip.LINK_OUT, Skip.LINK_BROKEN):
            # Whoever names a folder may read what its links name; a broken one fails as the photo that it should be.
            yield _without_dot(found.path)
        elif found.reason is Skip.UNREADABLE:
            unread.append(_missing(found))
        else:
            skipped.add(found)
    yield from unread


def _without_dot(path: str) -> str:
    return path.removeprefix(os.path.join(os.curdir, ""))


def _missing(found: SkippedFile) -> Missing:
    place, shown = _without_dot(found.path), printable_path(_without_dot(found.path))
    kind = "folder" if found.is_folder else "file"
    return Missing(place, InvalidInput(f"The {kind} {shown!r} cannot be read ({found.detail}). Check its permissions."))


def _matching(pattern: str, skipped: SkippedFiles) -> Iterator[str | Missing]:
    for name in sorted(glob.iglob(pattern, recursive=True)):
        if not os.path.isdir(name):
            yield name
        elif "**" not in pattern:
            yield from _in_folder(name, skipped)


def _plain(folder: str) -> str:
    """The normalised name of a folder, so that a later run finds the same names; ".." may lead through a link."""
    return folder if os.pardir in folder.split(os.sep) else os.path.normpath(folder)
