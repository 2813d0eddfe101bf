"""Feature cache on disk, keyed by the content of a photo and by the network.

Stored in LMDB, so that an interrupted run keeps every finished batch. Also collects unreadable photos.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import lmdb
import numpy as np
from rich.console import Console

from export.arrays import Floats, Integers, Pixels
from export.errors import TrainingError
from export.progress import OnProgress, counted_step
from export.training.features.extractor import FeatureExtractor, view_of

# Address space, not disk space: the file grows with its content. 1 TB holds 20 million photos in eight views.
_MAP_BYTES = 1 << 40
_PHOTOS_AT_ONCE = 32
_DECODERS = 4


@dataclass(frozen=True)
class Features:
    """Features of the readable photos.

    Attributes:
        rows: int64[N], indices into the requested photos.
        views: float32[N,V,F]; view 0 is the one that the server computes.
        digests: SHA-256 of each photo's bytes.
        unreadable: photo -> reason.
        computed: number of photos that were not in the cache.
    """

    rows: Integers
    views: Floats
    digests: tuple[bytes, ...]
    unreadable: dict[Path, str]
    computed: int

    @property
    def served(self) -> Floats:
        """float32[N,F]: features of view 0."""
        return self.views[:, 0]


def extract_features(
    photos: Sequence[Path], views: int, extractor: FeatureExtractor, folder: Path, console: Console
) -> Features:
    """The features of `views` views of each photo, from the cache in `folder` or computed now.

    Raises:
        TrainingError: the cache cannot be opened or written, for example on a full disk; written features are kept.
    """
    cache = _FeatureCache(folder, extractor)
    with contextlib.closing(cache), counted_step(console, f"Features of {len(photos)} photos") as on_progress:
        return cache.read(photos, views, on_progress)


class _FeatureCache:
    """Features on disk; `folder` has one folder per network."""

    def __init__(self, folder: Path, extractor: FeatureExtractor) -> None:
        self._extractor = extractor
        path = folder / extractor.digest[:16]
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._store = lmdb.open(str(path), map_size=_MAP_BYTES, subdir=True, lock=True)
        except (OSError, lmdb.Error) as error:
            raise TrainingError(
                f"The feature cache {path} cannot be opened ({error}). Name another folder with --cache."
            ) from error

    def close(self) -> None:
        self._store.close()

    def read(self, photos: Sequence[Path], views: int, on_progress: OnProgress) -> Features:
        found: dict[int, Floats] = {}
        digests: dict[int, bytes] = {}
        unreadable: dict[Path, str] = {}
        computed = 0
        with ThreadPoolExecutor(_DECODERS) as pool:
            for start in range(0, len(photos), _PHOTOS_AT_ONCE):
                batch = list(enumerate(photos[start : start + _PHOTOS_AT_ONCE], start))
                photos_read = list(pool.map(lambda item: self._read_photo(item[1], views), batch))
                todo = []
                for (index, photo), one in zip(batch, photos_read, strict=True):
                    if isinstance(one, str):
                        unreadable[photo] = one
                    else:
                        digests[index] = one.digest
                        todo.append((index, one))
                computed += sum(one.pixels is not None for _, one in todo)
                found |= self._compute_missing(todo, views)
                on_progress(min(start + _PHOTOS_AT_ONCE, len(photos)), len(photos))
        rows = sorted(found)
        shape = (0, views, self._extractor.features)
        stacked = np.stack([found[row] for row in rows]) if rows else np.zeros(shape, np.float32)
        return Features(np.array(rows, np.int64), stacked, tuple(digests[row] for row in rows), unreadable, computed)

    def _read_photo(self, photo: Path, views: int) -> _CachedPhoto | str:
        """The cached features of a photo, and its pixels if a view is missing; the reason if it cannot be read."""
        try:
            content = photo.read_bytes()
        except OSError as error:
            return f"cannot be read: {error.strerror}"
        digest = hashlib.sha256(content).digest()
        known: dict[int, Floats] = {}
        with self._store.begin() as transaction:
            for view in range(views):
                stored = transaction.get(digest + bytes([view]))
                if stored is not None:
                    known[view] = np.frombuffer(stored, np.float32)
        if len(known) == views:
            return _CachedPhoto(digest, known, None)
        try:
            return _CachedPhoto(digest, known, self._extractor.decode(content))
        except ValueError as error:  # the decoder raises ValueError with a message for the user
            return str(error)

    def _compute_missing(self, photos_read: Sequence[tuple[int, _CachedPhoto]], views: int) -> dict[int, Floats]:
        missing = [
            (one, view)
            for _, one in photos_read
            if one.pixels is not None
            for view in range(views)
            if view not in one.known
        ]
        for start in range(0, len(missing), _PHOTOS_AT_ONCE):
            part = missing[start : start + _PHOTOS_AT_ONCE]
            pixels = np.stack([view_of(one.pixels, one.digest, view) for one, view in part])  # type: ignore[arg-type]
            features = self._extractor.embed(pixels)
            for (one, view), row in zip(part, features, strict=True):
                one.known[view] = row
        if missing:
            self._write(missing)
        return {index: np.stack([one.known[view] for view in range(views)]) for index, one in photos_read}

    def _write(self, computed: Sequence[tuple[_CachedPhoto, int]]) -> None:
        try:
            with self._store.begin(write=True) as transaction:
                for one, view in computed:
                    transaction.put(one.digest + bytes([view]), one.known[view].tobytes())
        except (OSError, lmdb.Error) as error:
            raise TrainingError(
                f"The feature cache cannot be written ({error}). Written features are kept. Free some disk space, or "
                "name another folder with --cache, and run the command again."
            ) from error


@dataclass(frozen=True)
class _CachedPhoto:
    digest: bytes
    known: dict[int, Floats]
    pixels: Pixels | None
