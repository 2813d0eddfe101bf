"""What the headers of coded pictures say of their size and samples: AV1's sequence headers, HEVC's parameter sets.

The boxes of a file say the same, but a decoder believes the coded pictures. Sources: the AV1 bitstream specification
5.3, 5.5; ITU-T H.265 7.3.1 to 7.3.3; ISO/IEC 14496-15, 8.3.3 (the box `hvcC`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

# Parts of one AV1 picture: a few headers, and as many tile groups as its encoder likes.
_MAX_UNITS = 5_000
_SEQUENCE_HEADER = 1
_SEQUENCE_PARAMETERS = 33
_HVCC_ARRAYS = 22
# Of the length before each part of a HEVC picture; 1 and 2 are allowed, no encoder writes them.
_LENGTH_BYTES = 4


class Samples(NamedTuple):
    """How a HEVC picture is sampled.

    Attributes:
        bit_depth: the more of luma's and chroma's.
        is_subsampled: whether colours have half the width and half the height, or there are none.
    """

    bit_depth: int
    is_subsampled: bool


class _Bits:
    def __init__(self, content: bytes) -> None:
        self._value = int.from_bytes(content, "big")
        self._left = 8 * len(content)

    def read(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise ValueError("beyond the end")
        return self._value >> self._left & ((1 << count) - 1)

    def read_exponential(self) -> int:
        """An Exp-Golomb code."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)


def av1_picture(data: bytes) -> tuple[int, int, int]:
    """Width, height and bits a sample of an AV1 picture, the most that one of its sequence headers says.

    Raises:
        ValueError, IndexError: it has none, or cannot be followed.
    """
    sizes: list[tuple[int, int, int]] = []
    at = 0
    for _ in range(_MAX_UNITS):
        if at >= len(data):
            if not sizes:
                raise ValueError("no sequence header")
            widths, heights, depths = zip(*sizes, strict=True)
            return max(widths), max(heights), max(depths)
        header = data[at]
        at += 2 if header & 4 else 1
        if header & 2:
            size, at = _leb128(data, at)
        else:
            size = len(data) - at
        if header >> 3 & 15 == _SEQUENCE_HEADER:
            sizes.append(_size_in(_Bits(data[at : at + min(size, 64)])))
        at += size
    raise ValueError("more parts than a still picture has")


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 56, 7):
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
    raise ValueError("a length of more than 8 bytes")


def _size_in(bits: _Bits) -> tuple[int, int, int]:
    """Of a sequence header. The long form, of sequences, lets a frame be as large as its size has bits."""
    bits.read(4)  # profile, still picture
    is_short = bits.read(1) == 1
    if is_short:
        bits.read(5)  # level
    else:
        _skip_operating_points(bits)
    width_bits, height_bits = bits.read(4) + 1, bits.read(4) + 1
    if not is_short:
        return 1 << width_bits, 1 << height_bits, 10
    width_px, height_px = bits.read(width_bits) + 1, bits.read(height_bits) + 1
    bits.read(6)  # superblocks, filters
    return width_px, height_px, 10 if bits.read(1) else 8


def _skip_operating_points(bits: _Bits) -> None:
    if bits.read(1):
        raise ValueError("timing information, which no picture of a photo has")
    has_display_delay = bits.read(1)
    for _ in range(bits.read(5) + 1):
        bits.read(12)  # operating point
        if bits.read(5) > 7:  # level
            bits.read(1)  # tier
        if has_display_delay and bits.read(1):
            bits.read(4)


def hevc_samples(configuration: bytes) -> Samples:
    """Of a box `hvcC`: the most that one of its sequence parameter sets says.

    Raises:
        ValueError, IndexError: it cannot be followed, or has none.
    """
    if configuration[_HVCC_ARRAYS - 1] & 3 != _LENGTH_BYTES - 1:
        raise ValueError("lengths of another size")
    found = [_samples_of(unit) for unit in _parameter_sets(configuration)]
    return Samples(max(one.bit_depth for one in found), all(one.is_subsampled for one in found))


def has_parameter_sets(data: bytes) -> bool:
    """Whether the data of a HEVC picture replaces its parameters, which items of kind `hvc1` must not."""
    at = 0
    for _ in range(_MAX_UNITS):
        if at + _LENGTH_BYTES >= len(data):
            return False
        if data[at + _LENGTH_BYTES] >> 1 & 63 == _SEQUENCE_PARAMETERS:
            return True
        at += _LENGTH_BYTES + int.from_bytes(data[at : at + _LENGTH_BYTES], "big")
    return True


def _parameter_sets(configuration: bytes) -> Iterator[bytes]:
    at = _HVCC_ARRAYS + 1
    for _ in range(configuration[_HVCC_ARRAYS]):
        kind = configuration[at] & 63
        count = int.from_bytes(configuration[at + 1 : at + 3], "big")
        at += 3
        for _ in range(count):
            size = int.from_bytes(configuration[at : at + 2], "big")
            if kind == _SEQUENCE_PARAMETERS or configuration[at + 2] >> 1 & 63 == _SEQUENCE_PARAMETERS:
                yield configuration[at + 2 : at + 2 + size]
            at += 2 + size


def _samples_of(unit: bytes) -> Samples:
    # An emulation prevention byte stands behind two zeros.
    bits = _Bits(unit[2:].replace(b"\0\0\3", b"\0\0")[:256])
    bits.read(4)
    sub_layers = bits.read(3)
    bits.read(1 + 88 + 8)  # nesting, general profile and level
    if sub_layers:
        flags = [(bits.read(1), bits.read(1)) for _ in range(8)][:sub_layers]
        bits.read(sum(88 * has_profile + 8 * has_level for has_profile, has_level in flags))
    bits.read_exponential()
    chroma = bits.read_exponential()
    if chroma == 3:
        bits.read(1)
    bits.read_exponential()
    bits.read_exponential()
    if bits.read(1):
        for _ in range(4):
            bits.read_exponential()
    return Samples(8 + max(bits.read_exponential(), bits.read_exponential()), chroma in (0, 1))
