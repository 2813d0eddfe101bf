"""What the commands share at their edges: photos to work on, and saying what is going on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from export.errors import PhotosMissing


@contextmanager
def step(console: Console, what: str) -> Iterator[None]:
    """Says what is going on while it does, and how long it took."""
    started = time.monotonic()
    with console.status(f"{what} ..."):
        yield
    console.print(f"  {what:<34} {time.monotonic() - started:5.1f} s")


def find_photos(folder: Path) -> list[Path]:
    """The JPEG files of a folder.

    Raises:
        PhotosMissing: there are none.
    """
    photos = sorted(folder.glob("*.jpg"))
    if not photos:
        raise PhotosMissing(
            f"No *.jpg in {folder}: the export is verified on real photos. "
            "Fetch the samples with `make photos`, or pass a folder of your own with --photos."
        )
    return photos
