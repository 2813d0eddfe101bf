"""Memory that this process and a server on the same host have open, cut into slots. Linux only; knows no protocol."""

from __future__ import annotations

import mmap
import os
import struct
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path("/dev/shm")


class Region:
    """A piece of shared memory. Threads may share it.

    Attributes:
        name: under which a server opens it, in `FOLDER`, until `unlink`.
        born_s: when it was made, on the monotonic clock.
    """

    def __init__(self, size_bytes: int) -> None:
        """Raises `OSError` where there is no shared memory, or too little."""
        self.name = f"triptych_client_{uuid.uuid4().hex}"
        self.size_bytes = size_bytes
        self.born_s = time.monotonic()
        self._path = FOLDER / self.name
        self._lock = threading.Lock()
        self._free = [(0, size_bytes)]
        file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Else a full /dev/shm would show as a SIGBUS at the first write.
            os.posix_fallocate(file, 0, size_bytes)
            self._memory = mmap.mmap(file, size_bytes)
        except BaseException:
            self.unlink()
            raise
        finally:
            os.close(file)

    def unlink(self) -> None:
        """Takes the name away; who has the memory open keeps it."""
        self._path.unlink(missing_ok=True)

    def take(self, size_bytes: int) -> int | None:
        """The offset of a free slot of that size, None where there is none."""
        with self._lock:
            for at, (start, end) in enumerate(self._free):
                if end - start >= size_bytes:
                    self._free[at : at + 1] = [(start + size_bytes, end)] if end - start > size_bytes else []
                    return start
            return None

    def give_back(self, start: int, size_bytes: int) -> None:
        """The slot may be taken again."""
        with self._lock:
            merged: list[tuple[int, int]] = []
            for free_start, free_end in sorted([*self._free, (start, start + size_bytes)]):
                if merged and merged[-1][1] == free_start:
                    merged[-1] = (merged[-1][0], free_end)
                else:
                    merged.append((free_start, free_end))
            self._free = merged

    def write(self, start: int, photos: Sequence[bytes]) -> None:
        """Puts a BYTES tensor there: each photo behind its length in four little-endian bytes."""
        for photo in photos:
            struct.pack_into("<I", self._memory, start, len(photo))
            self._memory[start + 4 : start + 4 + len(photo)] = photo
            start += 4 + len(photo)


def slot_size(photos: Sequence[bytes]) -> int:
    """Bytes that `Region.write` needs."""
    return sum(4 + len(photo) for photo in photos)
