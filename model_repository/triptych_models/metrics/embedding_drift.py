"""Embedding drift: how far the photos differ from those of the release's reference, one value for a server.

The running mean is weighted: half of the weight is on the last `HALF_LIFE_PHOTOS` photos. It starts at the reference,
which means "no drift"; a start at the first photo would mean "everything has changed".
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import mmap
import os
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

# The noise is that of a mean over 2 / ln 2 times as many photos: a cosine distance of 0.0003 for 1,200 photos of
# clothes, of which 20 alone have a distance of 0.043 and 100 alone 0.009.
HALF_LIFE_PHOTOS = 1000

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """The mean embedding of the photos a release was verified on.

    Attributes:
        mean: float64[D]; the more the photos differ, the further its norm is below 1.
        digest: hex digest of the file, which identifies the reference.
    """

    mean: Vector
    digest: str

    @classmethod
    def read(cls, file: Path) -> Reference | None:
        """The reference in a file; None where the file does not exist."""
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        return cls(np.array(json.loads(content)["mean_embedding"], np.float64), hashlib.sha256(content).hexdigest())


class RunningMean:
    """A running mean of embeddings, in memory that all instances of a server share.

    Args:
        server_folder: folder that all instances of one server share.
        reference: start of the mean, and the mean that drift is measured from.
    """

    def __init__(self, server_folder: Path, reference: Reference) -> None:
        # Open for the life of the process: the lock needs the file.
        self._file = os.open(server_folder / f"mean-{reference.digest[:16]}", os.O_RDWR | os.O_CREAT, 0o600)
        os.truncate(self._file, reference.mean.nbytes)
        # Zeros until an instance has added an embedding.
        self._shared = np.frombuffer(mmap.mmap(self._file, reference.mean.nbytes), np.float64)
        self._reference = reference.mean
        self._lock = threading.Lock()
        self._sum = np.zeros_like(reference.mean)
        self._photos = 0

    def add(self, embeddings: npt.NDArray[np.float32]) -> None:
        """Adds embeddings float32[N,D] of L2 norm 1; rows that are not finite are ignored."""
        embeddings = embeddings[np.isfinite(embeddings).all(axis=1)]
        added = embeddings.sum(axis=0, dtype=np.float64)
        with self._lock:
            self._sum += added
            self._photos += len(embeddings)

    def drift(self) -> float:
        """Adds the new embeddings to the shared mean; returns 1 - cosine of the mean and the reference, 0 to 2."""
        with self._lock:
            added, photos = self._sum, self._photos
            self._sum, self._photos = np.zeros_like(added), 0
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            mean = self._shared if self._shared.any() else self._reference
            if photos:
                kept = 0.5 ** (photos / HALF_LIFE_PHOTOS)
                self._shared[:] = kept * mean + (1 - kept) * added / photos
                mean = self._shared
            mean = mean.copy()
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return _cosine_distance(mean, self._reference)


def _cosine_distance(one: Vector, other: Vector) -> float:
    cosine = float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
    return max(0.0, 1 - cosine)  # rounding may give a cosine above 1


def open_running_mean(server_folder: Path, reference_file: Path) -> RunningMean | None:
    """The running mean of a server; None where the release has no reference."""
    reference = Reference.read(reference_file)
    return None if reference is None else RunningMean(server_folder, reference)
