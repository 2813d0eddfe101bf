"""Finds the photos below a folder as shops have them, and names everything else. Opens only files whose name is silent.

Owns: the order of the walk, how links are followed, and the count of what was skipped. Decodes no photo.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from triptych.sources.photo_names import (
    PHOTO_SUFFIXES,
    Skip,
    is_other_suffix,
    is_photo_content,
    skip_by_name,
    suffix_of,
)
from triptych.sources.report import SkipCounter, Skipped

__all__ = [
    "PHOTO_SUFFIXES",
    "EnteredFolder",
    "Skip",
    "SkippedFile",
    "SkippedFiles",
    "printable_path",
    "walk_folder",
    "walk_photos",
]

_SNIFFED_BYTES = 32


@dataclass(frozen=True, slots=True)
class SkippedFile:
    """A file that is not read, or a folder with everything below it.

    Attributes:
        path: below the folder as it was named.
        is_folder: a folder, or a link to one.
        detail: the suffix of a file that is no photo; the system's reason of one that cannot be read.
    """

    path: str
    reason: Skip
    is_folder: bool = False
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EnteredFolder:
    """A folder whose files follow."""

    path: str


class SkippedFiles:
    """Counts what was skipped, by reason, with the first examples; memory does not grow with the number of files.

    Attributes:
        faults: number of skipped entries that may hide photos.
    """

    def __init__(self) -> None:
        """Starts with nothing."""
        self.faults = 0
        self._counter = SkipCounter()

    def add(self, skipped: SkippedFile) -> None:
        """Counts one file or folder."""
        kind = f" ({skipped.detail})" if skipped.reason is Skip.OTHER else ""
        why = f": {skipped.detail}" if skipped.reason is Skip.UNREADABLE else ""
        path = printable_path(skipped.path) + ("/" if skipped.is_folder else "") + why
        self._counter.add(f"{skipped.reason.value}{kind}", path)
        self.faults += skipped.reason.is_fault

    def __len__(self) -> int:
        return self._counter.total

    def by_reason(self) -> tuple[Skipped, ...]:
        """The reasons with their counts and examples; each is a line of a report."""
        return self._counter.skipped()


def printable_path(path: str) -> str:
    """The path as text that every output takes: bytes that are not UTF-8 and line breaks become escapes."""
    text = os.fsencode(path).decode("utf-8", "backslashreplace")
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def walk_photos(folder: str | os.PathLike[str]) -> Iterator[str | SkippedFile]:
    """The paths of the photos below a folder, and each other file once; what is in a skipped folder goes with it.

    Sorted within each folder, its files before its folders. Lists one folder at a time. A link to a file below the
    folder is a photo of its own; a folder is read once, however many links lead to it.
    """
    return (found for found in walk_folder(folder) if not isinstance(found, EnteredFolder))


def walk_folder(folder: str | os.PathLike[str]) -> Iterator[str | SkippedFile | EnteredFolder]:
    """As `walk_photos`, with each folder before its files."""
    yield from _Walk(os.fspath(folder)).run()


class _Walk:
    def __init__(self, folder: str) -> None:
        self._root = folder
        self._real_root = os.path.realpath(folder)
        # Real paths of folders that were entered through a link.
        self._linked: set[str] = set()

    def run(self) -> Iterator[str | SkippedFile | EnteredFolder]:
        # Not recursive: a tree may be deeper than Python's stack. Each entry: path, real path if below a link.
        stack: list[tuple[str, str | None]] = [(self._root, None)]
        while stack:
            path, real = stack.pop()
            if real is not None:
                if real in self._linked:
                    yield SkippedFile(path, Skip.LINK_AGAIN, is_folder=True)
                    continue
                self._linked.add(real)
            try:
                with os.scandir(path) as listing:
                    entries = sorted(listing, key=lambda entry: entry.name)
            except OSError as error:
                yield SkippedFile(path, Skip.UNREADABLE, is_folder=True, detail=error.strerror or str(error))
                continue
            yield EnteredFolder(path)
            below: list[tuple[str, str | None]] = []
            for entry in entries:
                found = self._judge(entry, real)
                if isinstance(found, tuple):
                    below.append(found)
                else:
                    yield found
            stack.extend(reversed(below))

    def _judge(self, entry: os.DirEntry[str], real: str | None) -> str | SkippedFile | tuple[str, str | None]:
        """A photo, a skipped entry, or a folder to enter."""
        path = entry.path
        if entry.is_symlink():
            return _by_name(entry.name, path, False) or self._follow(entry.name, path)
        is_folder = entry.is_dir(follow_symlinks=False)
        skipped = _by_name(entry.name, path, is_folder)
        if skipped is not None:
            return skipped
        if is_folder:
            return path, None if real is None else os.path.join(real, entry.name)
        return _by_content(entry.name, path, entry.is_file(follow_symlinks=False))

    def _follow(self, name: str, path: str) -> str | SkippedFile | tuple[str, str | None]:
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            reason = Skip.UNREADABLE if error.errno == errno.EACCES else Skip.LINK_BROKEN
            return _by_suffix(name, path) or SkippedFile(path, reason, detail=error.strerror or str(error))
        target, is_folder = os.path.realpath(path), stat.S_ISDIR(mode)
        inside = os.path.relpath(target, self._real_root).split(os.sep)
        if inside[0] == os.pardir:
            other = None if is_folder else _by_suffix(name, path)
            return other or SkippedFile(path, Skip.LINK_OUT, is_folder)
        if not is_folder:
            return _by_content(name, path, stat.S_ISREG(mode))
        skipped = _by_name(name, path, True)
        if skipped is not None:
            return skipped
        if not any(skip_by_name(each, True) for each in inside if each != os.curdir):
            return SkippedFile(path, Skip.LINK_AGAIN, is_folder)
        return path, target


def _by_name(name: str, path: str, is_folder: bool) -> SkippedFile | None:
    reason = skip_by_name(name, is_folder)
    return None if reason is None else SkippedFile(path, reason, is_folder)


def _by_suffix(name: str, path: str) -> SkippedFile | None:
    suffix = suffix_of(name)
    return SkippedFile(path, Skip.OTHER, detail=suffix) if is_other_suffix(suffix) else None


def _by_content(name: str, path: str, is_file: bool) -> str | SkippedFile:
    if not is_file:
        return SkippedFile(path, Skip.SPECIAL)
    if suffix_of(name) in PHOTO_SUFFIXES:
        return path
    other = _by_suffix(name, path)
    if other is not None:
        return other
    try:
        with open(path, "rb") as file:
            is_photo = is_photo_content(file.read(_SNIFFED_BYTES))
    except OSError as error:
        return SkippedFile(path, Skip.UNREADABLE, detail=error.strerror or str(error))
    return path if is_photo else SkippedFile(path, Skip.OTHER, detail="unknown suffix")
