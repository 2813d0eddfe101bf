"""Finds photos to verify on, and photos with known classes: class folders, or file names that end in a class index."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from export.errors import PhotosMissing
from export.repository.labels import SEPARATOR

_INDEX_AT_END = re.compile(r"_(\d+)$")

UNKNOWN = -1


def find_photos(folder: Path) -> list[Path]:
    """The JPEG files of a folder.

    Raises:
        PhotosMissing: the folder has none.
    """
    photos = sorted(folder.glob("*.jpg"))
    if not photos:
        raise PhotosMissing(
            f"No *.jpg in {folder}; verification needs real photos. "
            "Download the samples with `make photos`, or pass your own folder with --photos."
        )
    return photos


def read_evaluation(
    folder: Path, labels: Sequence[str], limit: int, without: Collection[Path] = ()
) -> tuple[list[Path], list[int]]:
    """At most `limit` photos, evenly spaced over all folders, and their true classes, or `UNKNOWN`.

    Folder names are class names from `labels`, with or without the retail category, or class indices. Photos of
    `without` are left out.

    Raises:
        PhotosMissing: there is no *.jpg, or a folder name is not a class.
    """
    photos = sorted(folder.glob("*.jpg"))
    if photos:
        found = [(photo, _from_name(photo, len(labels))) for photo in photos]
    else:
        classes = {str(index): index for index in range(len(labels))}
        classes |= {line: index for index, line in enumerate(labels)}
        classes |= {line.rpartition(SEPARATOR)[2]: index for index, line in enumerate(labels)}
        found = [(photo, _from_folder(photo, classes)) for photo in sorted(folder.glob("*/*.jpg"))]
    if not found:
        raise PhotosMissing(f"No *.jpg in {folder} or its subfolders. Pass labelled photos with --evaluation.")
    found = [(photo, index) for photo, index in found if photo not in without]
    step = max(1, -(-len(found) // limit))
    return [photo for photo, _ in found[::step]], [index for _, index in found[::step]]


def _from_name(photo: Path, classes: int) -> int:
    match = _INDEX_AT_END.search(photo.stem)
    return int(match[1]) if match and int(match[1]) < classes else UNKNOWN


def _from_folder(photo: Path, classes: dict[str, int]) -> int:
    name = photo.parent.name
    if name not in classes:
        raise PhotosMissing(
            f"{photo.parent} is not named after a class of the network; expected folder names from labels.txt, with or "
            "without the retail category, or class indices."
        )
    return classes[name]
