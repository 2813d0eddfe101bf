"""A corpus of photos as shops send them, and the random order in which a run sends them."""

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

# Width and height in pixels -> weight. Assumed, not measured: thumbnails and listing photos are most of a shop's
# traffic; a few photos come at full size from a customer's phone.
SIZES_PX = {(400, 400): 20, (640, 480): 35, (800, 800): 25, (1200, 1200): 13, (2000, 1500): 5, (4000, 3000): 2}
QUALITIES = (75, 85, 92)
PHOTOS = 60


@dataclass(frozen=True)
class TrafficMix:
    """Distribution of the photos of a run.

    Attributes:
        zipf: exponent; the photo of rank r has weight 1 / r^zipf, and 0 weighs all photos alike.
        repeat_share: share of photos sent with the same bytes as before, which the server's cache answers. The other
            photos get unique trailing bytes.
        bad_share: share of calls that send invalid photos.
    """

    zipf: float = 1.0
    repeat_share: float = 0.3
    bad_share: float = 0.02

    def __post_init__(self) -> None:
        """Raises `LoadTestError` for a value out of range."""
        if not (0 <= self.repeat_share <= 1 and 0 <= self.bad_share <= 1 and self.zipf >= 0):
            raise LoadTestError(f"Invalid {self}: expected shares from 0 to 1 and a zipf of 0 or more.")


@dataclass(frozen=True)
class DrawnPhoto:
    """A photo to send.

    Attributes:
        key: of its reference answer, independent of trailing bytes; None for an invalid photo.
    """

    key: str | None
    content: bytes


class Corpus:
    """Photos by key, the most frequent first."""

    def __init__(self, photos: dict[str, bytes]) -> None:
        if not photos:
            raise LoadTestError("The corpus is empty. Pass a folder with photos; `make photos` fetches samples.")
        self.photos = photos
        self.bad_photos = _make_bad(next(iter(photos.values())))

    @classmethod
    def make(
        cls, folder: Path, seed: int, count: int = PHOTOS, sizes_px: Mapping[tuple[int, int], int] = SIZES_PX
    ) -> Corpus:
        """Resizes the JPEG files of a folder to sizes drawn by weight; the same seed gives the same corpus.

        Raises:
            LoadTestError: the folder has no JPEG file.
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
        """Writes the files that `read` reads in another process."""
        for key, content in self.photos.items():
            (folder / f"{key}.jpg").write_bytes(content)
        (folder / "corpus.json").write_text(json.dumps(list(self.photos)), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Corpus:
        """A corpus that `write` wrote.

        Raises:
            LoadTestError: the folder has no corpus.
        """
        try:
            keys = json.loads((folder / "corpus.json").read_text(encoding="utf-8"))
            return cls({key: (folder / f"{key}.jpg").read_bytes() for key in keys})
        except (OSError, ValueError) as error:
            raise LoadTestError(
                f"Cannot read a corpus from {folder} ({error}). `triptych loadtest locust` writes one."
            ) from error


class PhotoSampler:
    """Draws photos for one process.

    Args:
        seed: two samplers with one seed draw the same photos in the same order; only the trailing bytes differ.
    """

    def __init__(self, corpus: Corpus, mix: TrafficMix, seed: int) -> None:
        self._corpus = corpus
        self._mix = mix
        self._random = random.Random(seed)
        self._keys = list(corpus.photos)
        self._weights = list(itertools.accumulate(1 / rank**mix.zipf for rank in range(1, len(self._keys) + 1)))
        # Unique across runs and processes: the server may have cached photos of both.
        self._numbers = itertools.count(time.time_ns())
        self._process = os.urandom(4)

    def draw(self, may_be_bad: bool = True) -> DrawnPhoto:
        """The next photo."""
        if self._random.random() < self._mix.bad_share and may_be_bad:
            return DrawnPhoto(None, self._random.choice(self._corpus.bad_photos))
        (key,) = self._random.choices(self._keys, cum_weights=self._weights)
        content = self._corpus.photos[key]
        if self._random.random() >= self._mix.repeat_share:
            # Decoders stop at the end of a JPEG.
            content += self._process + next(self._numbers).to_bytes(8, "big")
        return DrawnPhoto(key, content)


def _encode(file: Path, size_px: tuple[int, int], quality: int) -> bytes:
    with Image.open(file) as image:
        resized = image.convert("RGB").resize(size_px, Image.Resampling.BICUBIC)
    encoded = io.BytesIO()
    resized.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()


def _make_bad(photo: bytes) -> list[bytes]:
    """A truncated upload, an HTML page, a PDF file and zero bytes."""
    return [photo[: len(photo) // 2], b"<!doctype html><title>404</title>", b"%PDF-1.7\n" + photo[2:400], bytes(2048)]
