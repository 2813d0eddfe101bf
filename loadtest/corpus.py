"""What shops send: photos of many sizes, some wanted far more often than others, some again, some no photos at all."""

from __future__ import annotations

import io
import itertools
import json
import os
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from loadtest.errors import LoadTestError

# Sides in pixels -> share. Chosen, not measured: thumbnails and listing photos make most of a shop's traffic, and a
# customer's telephone now and then sends what it took.
SIZES_PX = {(400, 400): 20, (640, 480): 35, (800, 800): 25, (1200, 1200): 13, (2000, 1500): 5, (4000, 3000): 2}
QUALITIES = (75, 85, 92)
PHOTOS = 60


@dataclass(frozen=True)
class Mix:
    """How the photos of a run are drawn.

    Attributes:
        zipf: exponent: the photo of rank r is drawn in proportion to 1 / r^zipf; 0 draws all alike.
        repeat_share: of the photos, how many are sent byte for byte as before, which the server's cache answers. The
            others end in bytes of their own.
        bad_share: of all calls, how many send what is no photo.
    """

    zipf: float = 1.0
    repeat_share: float = 0.3
    bad_share: float = 0.02

    def __post_init__(self) -> None:
        """Raises `LoadTestError` for shares that are none."""
        if not (0 <= self.repeat_share <= 1 and 0 <= self.bad_share <= 1 and self.zipf >= 0):
            raise LoadTestError(f"{self} cannot be drawn; expected shares from 0 to 1 and a zipf of at least 0.")


@dataclass(frozen=True)
class Draw:
    """One photo to send.

    Attributes:
        key: of its golden answer; the same photo with other bytes behind its end has the same one. None: a bad photo.
    """

    key: str | None
    content: bytes


class Corpus:
    """Photos by key, the most wanted first."""

    def __init__(self, photos: dict[str, bytes]) -> None:
        if not photos:
            raise LoadTestError("The corpus is empty. Make one of a folder with photos: `make photos` fetches samples.")
        self.photos = photos
        self.bad_photos = _make_bad(next(iter(photos.values())))

    @classmethod
    def make(
        cls, folder: Path, seed: int, count: int = PHOTOS, sizes_px: Mapping[tuple[int, int], int] = SIZES_PX
    ) -> Corpus:
        """Of the folder's JPEG files, cut and encoded to sizes by their shares; the same for the same seed.

        Raises:
            LoadTestError: the folder has none.
        """
        files = sorted(folder.glob("*.jpg"))
        if not files:
            raise LoadTestError(f"No *.jpg in {folder}. Fetch the samples with `make photos`, or pass --photos FOLDER.")
        drawn, photos = random.Random(seed), {}
        sizes = drawn.choices(list(sizes_px), list(sizes_px.values()), k=count)
        for number, size in enumerate(sizes):
            file = files[number % len(files)]
            photos[f"{number:03}-{file.stem}-{size[0]}x{size[1]}"] = _encode(file, size, drawn.choice(QUALITIES))
        return cls(photos)

    def write(self, folder: Path) -> None:
        """Into files, for `read` in another process."""
        for key, content in self.photos.items():
            (folder / f"{key}.jpg").write_bytes(content)
        (folder / "corpus.json").write_text(json.dumps(list(self.photos)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Corpus:
        """What `write` wrote.

        Raises:
            LoadTestError: there is no corpus in the folder.
        """
        try:
            keys = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
            return cls({key: (folder / f"{key}.jpg").read_bytes() for key in keys})
        except (OSError, ValueError) as error:
            raise LoadTestError(
                f"No corpus can be read from {folder} ({error}). `python -m loadtest locust` makes one."
            ) from error


class Drawer:
    """Draws photos for one process, from a seed.

    Args:
        seed: two drawers with one seed draw the same photos in the same order, but for the bytes behind their end.
    """

    def __init__(self, corpus: Corpus, mix: Mix, seed: int) -> None:
        self._corpus = corpus
        self._mix = mix
        self._random = random.Random(seed)
        self._keys = list(corpus.photos)
        self._weights = list(itertools.accumulate(1 / rank**mix.zipf for rank in range(1, len(self._keys) + 1)))
        # A server may have seen the photos of an earlier run, or of another process of this one.
        self._mark = itertools.count(time.time_ns())
        self._process = os.urandom(4)

    def draw(self, may_be_bad: bool = True) -> Draw:
        """The next photo."""
        if self._random.random() < self._mix.bad_share and may_be_bad:
            return Draw(None, self._random.choice(self._corpus.bad_photos))
        (key,) = self._random.choices(self._keys, cum_weights=self._weights)
        return Draw(key, self.content_of(key))

    def content_of(self, key: str) -> bytes:
        """That photo, as it is or with bytes of its own behind its end."""
        content = self._corpus.photos[key]
        if self._random.random() < self._mix.repeat_share:
            return content
        # Decoders stop at the end of a JPEG.
        return content + self._process + next(self._mark).to_bytes(8, "big")


def _encode(file: Path, size_px: tuple[int, int], quality: int) -> bytes:
    with Image.open(file) as image:
        resized = image.convert("RGB").resize(size_px, Image.Resampling.BICUBIC)
    encoded = io.BytesIO()
    resized.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()


def _make_bad(photo: bytes) -> list[bytes]:
    """What customers upload by mistake: half an upload, a web page, a document, noughts."""
    return [photo[: len(photo) // 2], b"<!doctype html><title>404</title>", b"%PDF-1.7\n" + photo[2:400], bytes(2048)]
