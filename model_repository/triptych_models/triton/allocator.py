"""What the C library keeps of the memory that a model's process gives back."""

from __future__ import annotations

import ctypes

# malloc.h
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
# Above what a photo of usual size takes at each step; a larger one's buffers go back to the system.
_MAPPED_FROM_BYTES = 4 * 2**20
_KEPT_AT_THE_END_BYTES = 16 * 2**20


def keep_buffers() -> None:
    """For a process that makes the same buffers for every photo: they are used again.

    The server's environment bids all its processes map anew what is larger than 256 KB, which keeps the server itself
    from growing (`ops.launch.ALLOCATOR`); here that is 350 page faults a photo and a tenth of the throughput.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, _MAPPED_FROM_BYTES)
    # Once a threshold is set glibc gives the heap's end back from 128 KB on: as many faults.
    libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_AT_THE_END_BYTES)
