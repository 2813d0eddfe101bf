"""The photos a test sends: real ones at chosen sizes, no two alike unless asked for."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from loadtest.errors import LoadTestError


def read_photos(folder: Path, width_px: int, height_px: int) -> list[bytes]:
    """The folder's JPEG files, each resized and encoded again at quality 90.

    Raises:
        LoadTestError: the folder has none.
    """
    photos = []
    for file in sorted(folder.glob("*.jpg")):
        with Image.open(file) as image:
            resized = image.convert("RGB").resize((width_px, height_px), Image.Resampling.LANCZOS)
        encoded = io.BytesIO()
        resized.save(encoded, "JPEG", quality=90)
        photos.append(encoded.getvalue())
    if not photos:
        raise LoadTestError(f"No *.jpg in {folder}. Fetch the samples with `make photos`.")
    return photos


# One for the whole process, from a start of its own: a server may have seen the photos of an earlier run.
_numbers = itertools.count(time.time_ns())


def never_alike(photos: list[bytes]) -> Iterator[bytes]:
    """The photos in turn for ever, each with eight bytes of its own after its end, which decoders ignore."""
    for photo in itertools.cycle(photos):
        yield photo + next(_numbers).to_bytes(8, "big")
