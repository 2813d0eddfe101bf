"""Reads a folder of photos as a catalogue: each photo is a product. Sends nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from triptych._core.catalogue import CatalogueItem
from triptych.errors import InvalidInput
from triptych.sources.photo_files import PHOTO_SUFFIXES, Skip, SkippedFile, printable_path, walk_photos
from triptych.sources.report import SkipCounter
from triptych.sources.rows import RefusedRow

_FAULTS = {
    Skip.LINK_OUT: "it is a link that leads out of the catalogue's folder. Copy the file into the folder.",
    Skip.LINK_BROKEN: "there is no photo where this link leads. Mend or remove the link.",
}


def read_folder(folder: Path, skips: SkipCounter) -> Iterator[CatalogueItem | RefusedRow | None]:
    """The photos of a folder; None for each file that is passed over, which is counted in `skips`.

    Raises:
        InvalidInput: the folder has no photo.
    """
    has_photo = False
    for number, found in enumerate(walk_photos(folder), start=1):
        if isinstance(found, SkippedFile):
            inside = printable_path(os.path.relpath(found.path, folder))
            if found.reason.is_fault:
                reason = _FAULTS.get(found.reason, f"it cannot be read ({found.detail}). Check its permissions.")
                yield RefusedRow(number, None, inside, reason, passing=found.reason is Skip.UNREADABLE)
            else:
                kind = f" ({found.detail})" if found.detail else ""
                skips.add(f"{found.reason.value}{kind}", inside + ("/" if found.is_folder else ""))
                yield None
            has_photo = has_photo or found.reason.is_fault
            continue
        has_photo = True
        yield _item(folder, found, number)
    if not has_photo:
        shown = "; ".join(map(str, skips.skipped()))
        raise InvalidInput(
            f"The folder {str(folder)!r} holds no photo; expected files {' '.join(PHOTO_SUFFIXES)}."
            + (f" It has: {shown}." if shown else "")
        )


def _item(folder: Path, found: str, number: int) -> CatalogueItem | RefusedRow:
    inside = Path(os.path.relpath(found, folder))
    fields = {"photo": inside.as_posix()}
    if inside.parent != Path():
        fields["folder"] = inside.parent.as_posix()
    try:
        item = CatalogueItem(inside.with_suffix("").as_posix(), found, fields)
        item.product_id.encode()
    except UnicodeEncodeError:
        return RefusedRow(number, None, printable_path(found), "its name is not valid UTF-8. Rename the file.")
    return item
