"""Whether a request has the server to itself. Instances are processes; they tell each other by a byte in a file."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_INSTANCES = 1024


class LoadBoard:
    """One byte an instance, 1 while it works, in memory that all instances of a server share.

    Args:
        server: what all instances of one server, and only they, have in common.
        instance: this one's number.
    """

    def __init__(self, server: str, instance: int) -> None:
        self._file = Path(tempfile.gettempdir()) / f"triptych-load-{server}"
        with self._file.open("a+b") as file:
            file.truncate(MAX_INSTANCES)
            self._bytes = mmap.mmap(file.fileno(), MAX_INSTANCES)
        self._instance = instance
        self._bytes[instance] = 0

    @contextmanager
    def busy(self) -> Iterator[bool]:
        """Marks this instance as working; yields whether it is the only one that is."""
        self._bytes[self._instance] = 1
        try:
            yield self._bytes.find(b"\1") == self._bytes.rfind(b"\1")
        finally:
            self._bytes[self._instance] = 0

    def close(self) -> None:
        """Leaves the file to nobody; instances that still run keep their view of it."""
        self._bytes.close()
        self._file.unlink(missing_ok=True)
