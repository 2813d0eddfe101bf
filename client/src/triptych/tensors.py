"""BYTES tensors as raw bytes: each element behind its length in four little-endian bytes. No I/O."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence

from triptych.protocol import Tensor


def bytes_tensor(values: Sequence[bytes], shape: tuple[int, ...]) -> Tensor:
    """A tensor of these elements."""
    return Tensor("BYTES", shape, b"".join(part for value in values for part in (struct.pack("<I", len(value)), value)))


def elements(content: bytes | memoryview) -> Iterator[bytes]:
    """Its elements."""
    at = 0
    while at + 4 <= len(content):
        (length,) = struct.unpack_from("<I", content, at)
        yield bytes(content[at + 4 : at + 4 + length])
        at += 4 + length
