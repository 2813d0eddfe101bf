"""What hostile photos are made of: whole ones, and the parts of PNG, TIFF and JPEG files to put together wrongly."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from PIL import Image

Fate = Literal["REFUSED", "ANSWERED", "EITHER"]


@dataclass(frozen=True)
class HostilePhoto:
    """Attributes:
    kind: the class it is counted in.
    name: says which one it is.
    """

    kind: str
    name: str
    content: bytes = field(repr=False)
    fate: Fate = "REFUSED"


def picture(width_px: int, height_px: int, mode: str = "RGB") -> Image.Image:
    """Smooth and coloured, with some grain, so that every format has something to encode."""
    x, y = np.linspace(0, 1, width_px)[None, :], np.linspace(0, 1, height_px)[:, None]
    grain = np.random.default_rng(7).integers(0, 24, (height_px, width_px))
    channels = [200 * x * (1 - 0.3 * y) + grain, 220 * y**2 + 0 * x + grain, 110 + 100 * np.sin(9 * x + 5 * y)]
    return Image.fromarray(np.stack(channels, axis=2).clip(0, 255).astype(np.uint8)).convert(mode)


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


@functools.cache
def whole_photos() -> dict[str, bytes]:
    """One of each format and of the encodings that differ most inside."""
    image = picture(160, 120)
    return {
        "jpeg": encode(image, "JPEG", quality=88),
        "jpeg-progressive": encode(image, "JPEG", quality=88, progressive=True),
        "png": encode(image.resize((72, 54)), "PNG"),
        "png-palette": encode(image.quantize(32), "PNG"),
        "webp": encode(image, "WEBP", quality=90),
        "webp-lossless": encode(image.resize((72, 54)), "WEBP", lossless=True),
        "gif": encode(image.quantize(64), "GIF"),
        "bmp": encode(image.resize((56, 42)), "BMP"),
        "tiff": encode(image.resize((56, 42)), "TIFF"),
        "tiff-lzw": encode(image.resize((72, 54)), "TIFF", compression="tiff_lzw"),
        "tiff-deflate": encode(image.resize((72, 54)), "TIFF", compression="tiff_adobe_deflate"),
        "tiff-jpeg": encode(image, "TIFF", compression="jpeg"),
    }


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width_px: int, height_px: int, data: bytes, *, depth: int = 8, colour: int = 2, more: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width_px, height_px, depth, colour, 0, 0, 0)
    chunks = png_chunk(b"IHDR", header) + more + png_chunk(b"IDAT", data) + png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def tiff(entries: list[tuple[int, int, int, bytes]], *, next_offset: int = 0, tail: bytes = b"") -> bytes:
    """A little-endian TIFF of one directory at offset 8; an entry is tag, type, count, its four bytes."""
    directory = struct.pack("<H", len(entries))
    directory += b"".join(struct.pack("<HHI", tag, kind, count) + value for tag, kind, count, value in entries)
    return b"II*\x00" + struct.pack("<I", 8) + directory + struct.pack("<I", next_offset) + tail


def long(tag: int, value: int) -> tuple[int, int, int, bytes]:
    return tag, 4, 1, struct.pack("<I", value & 0xFFFF_FFFF)


def jpeg_segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
