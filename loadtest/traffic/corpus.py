"""Photos to send: a shop's sizes in random order, or one size; each with unique bytes where no cache may answer it."""

from __future__ import annotations

import io
import itertools
import os
import random
from collections.abc import Iterator, Mapping
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
        files = _find_files(folder)
        drawn, photos = random.Random(seed), {}
        sizes = drawn.choices(list(sizes_px), list(sizes_px.values()), k=count)
        for number, size in enumerate(sizes):
            file = files[number % len(files)]
            photos[f"{number:03}-{file.stem}-{size[0]}x{size[1]}"] = _encode(file, size, drawn.choice(QUALITIES))
        return cls(photos)


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

    def draw(self, may_be_bad: bool = True) -> DrawnPhoto:
        """The next photo."""
        if self._random.random() < self._mix.bad_share and may_be_bad:
            return DrawnPhoto(None, self._random.choice(self._corpus.bad_photos))
        (key,) = self._random.choices(self._keys, cum_weights=self._weights)
        content = self._corpus.photos[key]
        is_repeated = self._random.random() < self._mix.repeat_share
        return DrawnPhoto(key, content if is_repeated else content + unique_bytes())


def read_photos(folder: Path, width_px: int, height_px: int) -> list[bytes]:
    """The JPEG files of a folder, each resized and encoded again at quality 90.

    Raises:
        LoadTestError: the folder has no JPEG file.
    """
    return [_encode(file, (width_px, height_px), quality=90) for file in _find_files(folder)]


def unique_photos(photos: list[bytes]) -> Iterator[bytes]:
    """Cycles through the photos; no two have the same bytes."""
    for photo in itertools.cycle(photos):
        yield photo + unique_bytes()


def unique_bytes() -> bytes:
    """8 random bytes to append to a photo: decoders ignore them, the server's answer cache does not."""
    return os.urandom(8)


def _find_files(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise LoadTestError(f"No *.jpg in {folder}. Fetch the samples with `make photos`, or pass --photos FOLDER.")
    return files


def _encode(file: Path, size_px: tuple[int, int], quality: int) -> bytes:
    with Image.open(file) as image:
        resized = image.convert("RGB").resize(size_px, Image.Resampling.BICUBIC)
    encoded = io.BytesIO()
    resized.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()


def _make_bad(photo: bytes) -> list[bytes]:
    """A truncated upload, a PDF file and zero bytes: the client refuses text itself."""
    return [photo[: len(photo) // 2], b"%PDF-1.7\n" + photo[2:400], bytes(2048)]
