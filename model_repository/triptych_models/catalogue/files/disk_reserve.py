"""A file whose space deletes get when the disk is full: SQLite needs space even to delete."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

FILE = "reserve"
# A delete of 100 products of two photos writes some 1.5 MB to the write-ahead log.
SIZE_BYTES = 4 << 20


class DiskReserve:
    """The file in the catalogue's folder.

    Args:
        folder: folder of the catalogue; on a full disk the file is made later.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE
        self.take()

    def take(self) -> None:
        """Reserves the space again, where the disk has it."""
        with contextlib.suppress(OSError):
            if self._file.exists():
                return
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, SIZE_BYTES)
            except OSError:
                self._file.unlink(missing_ok=True)
            finally:
                os.close(descriptor)

    def give(self) -> bool:
        """Frees the space; False where there was none."""
        try:
            self._file.unlink()
        except OSError:
            return False
        return True
