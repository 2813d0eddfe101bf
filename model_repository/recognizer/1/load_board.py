"""Whether a request has the server to itself. Instances are processes; they tell each other by a byte in a file."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_INSTANCES = 1024


class LoadBoard:
    """One byte an instance, 1 while it works, in memory that all instances of a server share.

    Args:
        server_folder: where all instances of one server, and only they, look.
        instance: this one's number.
    """

    def __init__(self, server_folder: Path, instance: int) -> None:
        with (server_folder / "load").open("a+b") as file:
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
