"""Finds the photos that an argument names: files, folders, patterns, URLs, standard input. Reads no photo."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triptych._images.photo import ImageLike
from triptych.errors import InvalidInput

STDIN = "-"
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")

PHOTO_HELP = (
    "a file; a folder, which is searched recursively (without hidden folders and links) for "
    f"{' '.join(SUFFIXES)}; a quoted pattern, 'photos/**/*.jpg'; an http(s) URL; or - for one photo on standard input"
)


@dataclass(frozen=True)
class Missing:
    """An argument or folder without photos, and the reason."""

    place: str
    error: InvalidInput


def find_photos(places: Sequence[str]) -> Iterator[str | Missing]:
    """Yields the names of photos, each once, in a stable order.

    Lists one folder at a time. For several places the names are kept in memory, to detect duplicates.
    """
    named: set[str] = set()
    for place in places:
        for found in _at(place):
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


def _at(place: str) -> Iterator[str | Missing]:
    if os.path.isdir(place):
        yield from _or_missing(
            place, _in_folder(place), f"The folder {place!r} holds no photo; expected files {' '.join(SUFFIXES)}."
        )
    elif place.startswith(("http://", "https://")) or os.path.lexists(place) or not glob.has_magic(place):
        yield place
    else:
        yield from _or_missing(
            place,
            _matching(place),
            f"No file matches {place!r}. Check the pattern; ** stands for folders at any depth.",
        )


def _or_missing(place: str, found: Iterator[str | Missing], sentence: str) -> Iterator[str | Missing]:
    first = next(found, None)
    if first is None:
        yield Missing(place, InvalidInput(sentence))
        return
    yield first
    yield from found


def _in_folder(folder: str) -> Iterator[str | Missing]:
    unread: list[OSError] = []
    for root, folders, names in os.walk(_plain(folder), onerror=unread.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        # No hidden files: macOS writes a "._shoe.jpg", which is no photo, beside each photo on foreign disks.
        for name in sorted(names):
            if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                yield os.path.join(root, name).removeprefix(os.path.join(os.curdir, ""))
    for error in unread:
        place = str(error.filename)
        reason = InvalidInput(f"The folder {place!r} cannot be read ({error.strerror}). Check its permissions.")
        yield Missing(place, reason)


def _matching(pattern: str) -> Iterator[str | Missing]:
    for name in sorted(glob.iglob(pattern, recursive=True)):
        if not os.path.isdir(name):
            yield name
        elif "**" not in pattern:
            yield from _in_folder(name)


def _plain(folder: str) -> str:
    """The normalised name of a folder, so that a later run finds the same names; ".." may lead through a link."""
    return folder if os.pardir in folder.split(os.sep) else os.path.normpath(folder)
