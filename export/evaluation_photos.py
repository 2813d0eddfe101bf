"""Photos whose true class is known: folders named by class, or samples whose file names end in its index."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from export.errors import PhotosMissing
from export.labels import SEPARATOR

_INDEX_AT_END = re.compile(r"_(\d+)$")

UNKNOWN = -1


def read_evaluation(
    folder: Path, labels: Sequence[str], limit: int, without: Collection[Path] = ()
) -> tuple[list[Path], list[int]]:
    """At most `limit` photos, evenly from all folders, and their true classes, `UNKNOWN` where nothing says.

    A folder is named by one of `labels`, which are the network's in order, with or without its retail category, or by
    its index. Photos in `without` are left out.

    Raises:
        PhotosMissing: there is no *.jpg; or a folder is named by no class.
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
        raise PhotosMissing(f"No *.jpg in {folder} or in folders of it. Pass labelled photos with --evaluation.")
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
            f"{photo.parent} is named by no class of the network; expected folders named as the lines of labels.txt, "
            "with or without the category, or by index."
        )
    return classes[name]
