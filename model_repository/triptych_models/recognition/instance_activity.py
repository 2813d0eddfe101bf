"""Whether one instance alone is working. Instances are processes, which share their state in a file."""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_INSTANCES = 1024

# Under load an instance finds the other one idle for a moment between two photos; taking all cores then reduces
# throughput (4 callers over gRPC: 0.83 of the in-process baseline instead of 0.86). If two instances have not worked at
# the same time for the duration of four photos, there is one caller.
CALM_S = 0.05

# After the bytes: CLOCK_MONOTONIC, equal in all processes, at which two instances last worked at the same time.
_CROWDED_AT = struct.Struct("d")


class InstanceActivity:
    """One byte for each instance, 1 while it works, in memory that all instances of a server share.

    Args:
        server_folder: folder that all instances of one server share.
        instance: number of this instance.
    """

    def __init__(self, server_folder: Path, instance: int) -> None:
        size_bytes = MAX_INSTANCES + _CROWDED_AT.size
        with (server_folder / "load").open("a+b") as file:
            file.truncate(size_bytes)
            self._activity = mmap.mmap(file.fileno(), size_bytes)
        self._instance = instance
        self._activity[instance] = 0

    @contextmanager
    def busy(self) -> Iterator[bool]:
        """Marks this instance as working; yields whether no other instance has worked for `CALM_S`."""
        self._activity[self._instance] = 1
        try:
            yield self._is_calm()
        finally:
            self._activity[self._instance] = 0

    def _is_calm(self) -> bool:
        now_s = time.monotonic()
        if self._activity.find(b"\1", 0, MAX_INSTANCES) != self._activity.rfind(b"\1", 0, MAX_INSTANCES):
            _CROWDED_AT.pack_into(self._activity, MAX_INSTANCES, now_s)
            return False
        crowded_at_s: float = _CROWDED_AT.unpack_from(self._activity, MAX_INSTANCES)[0]
        return now_s - crowded_at_s > CALM_S
