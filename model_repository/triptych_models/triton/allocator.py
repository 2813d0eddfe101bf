"""How much freed memory the C library retains in a model's process."""

from __future__ import annotations

import ctypes

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Larger than the buffers of a photo of usual size; the buffers of a larger photo are returned to the system.
_MAPPED_FROM_BYTES = 4 * 2**20
_RETAINED_BYTES = 16 * 2**20


def retain_freed_memory() -> None:
    """Makes the C library use freed buffers again, for a process that allocates the same buffers for every photo.

    The server's environment makes all processes map each allocation above 256 kB anew, which keeps the server itself
    from growing (`ops`, ALLOCATOR); in a model's process that costs 350 page faults a photo and 10 % of the throughput.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
    # Once a threshold is set, glibc returns memory at the end of the heap above 128 kB, at the same cost.
    libc.mallopt(_M_TRIM_THRESHOLD, _RETAINED_BYTES)
