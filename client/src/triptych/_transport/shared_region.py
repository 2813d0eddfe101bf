"""Memory that this process shares with a server on the same host, in slots. Linux only; knows no protocol."""

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
    """A region of shared memory. Threads may share it.

    Attributes:
        name: under which a server opens it, in `FOLDER`, until `unlink`.
        born_s: when it was made, on the monotonic clock.
    """

    def __init__(self, size_bytes: int) -> None:
        """Raises `OSError` where there is not enough shared memory."""
        self.name = f"triptych_client_{uuid.uuid4().hex}"
        self.size_bytes = size_bytes
        self.born_s = time.monotonic()
        self._path = FOLDER / self.name
        self._lock = threading.Lock()
        self._free = [(0, size_bytes)]
        file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            # Otherwise a full /dev/shm would raise SIGBUS at the first write.
            os.posix_fallocate(file, 0, size_bytes)
            self._memory = mmap.mmap(file, size_bytes)
        except BaseException:
            self.unlink()
            raise
        finally:
            os.close(file)

    def unlink(self) -> None:
        """Removes the name; processes that have opened the memory keep it."""
        self._path.unlink(missing_ok=True)

    def take(self, size_bytes: int) -> int | None:
        """Takes a free slot of a size; returns its offset, None where there is none."""
        with self._lock:
            for at, (start, end) in enumerate(self._free):
                if end - start >= size_bytes:
                    self._free[at : at + 1] = [(start + size_bytes, end)] if end - start > size_bytes else []
                    return start
            return None

    def give_back(self, start: int, size_bytes: int) -> None:
        """Returns a slot."""
        with self._lock:
            merged: list[tuple[int, int]] = []
            for free_start, free_end in sorted([*self._free, (start, start + size_bytes)]):
                if merged and merged[-1][1] == free_start:
                    merged[-1] = (merged[-1][0], free_end)
                else:
                    merged.append((free_start, free_end))
            self._free = merged

    def write(self, start: int, photos: Sequence[bytes]) -> None:
        """Writes a BYTES tensor: each photo follows its length, a little-endian uint32."""
        for photo in photos:
            struct.pack_into("<I", self._memory, start, len(photo))
            self._memory[start + 4 : start + 4 + len(photo)] = photo
            start += 4 + len(photo)


def slot_size(photos: Sequence[bytes]) -> int:
    """The size of a slot for `Region.write`."""
    return sum(4 + len(photo) for photo in photos)
