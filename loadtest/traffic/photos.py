"""Sample photos at a given size, and a stream of photos in which no two have the same bytes."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from loadtest.errors import LoadTestError


def read_photos(folder: Path, width_px: int, height_px: int) -> list[bytes]:
    """The JPEG files of a folder, each resized and encoded again at quality 90.

    Raises:
        LoadTestError: the folder has no JPEG file.
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


# One counter per process. It starts at the current time, because the server may have cached photos of an earlier run.
_numbers = itertools.count(time.time_ns())


def unique_photos(photos: list[bytes]) -> Iterator[bytes]:
    """Cycles through the photos and appends 8 unique bytes to each; decoders ignore them, the answer cache does not."""
    for photo in itertools.cycle(photos):
        yield photo + next(_numbers).to_bytes(8, "big")
