"""HEIC and AVIF files: whole ones from their encoders, and the boxes to put files together wrongly."""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import pillow_heif
from PIL import Image

from tests.faults.photo_parts import encode, picture, whole_photos


def heic(image: Image.Image, **options: object) -> bytes:
    """A HEIC file; `tile_size=64` makes a grid, as phones write it."""
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, **options)
    return file.getvalue()


def avif(image: Image.Image, **options: object) -> bytes:
    return encode(image, "AVIF", speed=10, max_threads=1, **options)


def avif_of_frames(*frames: Image.Image) -> bytes:
    """An animation, without the time at which it was made."""
    content = bytearray(avif(frames[0], save_all=True, append_images=frames[1:]))
    for kind in (b"mvhd", b"tkhd", b"mdhd"):
        at = content.find(kind)
        size = 16 if content[at + 4] else 8
        content[at + 8 : at + 8 + size] = bytes(size)
    return bytes(content)


def transparent(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    rgba.putalpha(Image.linear_gradient("L").resize(image.size))
    return rgba


def heic_of_10_bits(image: Image.Image) -> bytes:
    file = io.BytesIO()
    deep = b"".join(bytes([0, value]) for value in image.convert("RGB").tobytes())
    pillow_heif.from_bytes("RGB;16", image.size, deep).save(file)
    return file.getvalue()


@functools.cache
def whole_files() -> dict[str, bytes]:
    """One of each format and of the encodings that differ most inside, of all formats that are read."""
    image = picture(160, 120)
    return whole_photos() | {
        "avif": avif(image),
        "avif-alpha": avif(transparent(picture(96, 80))),
        "avif-frames": avif_of_frames(image, image.rotate(90)),
        "heic": heic(image),
        "heic-grid": heic(picture(150, 130), tile_size=64),
        "heic-alpha": heic(transparent(picture(96, 80))),
        "heic-10-bits": heic_of_10_bits(picture(96, 80)),
    }


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, content: bytes, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, struct.pack(">I", version << 24 | flags) + content)


def with_size(content: bytes, width_px: int, height_px: int) -> bytes:
    """The file with other sizes in every box that tells one; the coded pictures stay."""
    changed = bytearray(content)
    at = changed.find(b"ispe")
    while at >= 0:
        changed[at + 8 : at + 16] = struct.pack(">II", width_px, height_px)
        at = changed.find(b"ispe", at + 4)
    return bytes(changed)


@dataclass(frozen=True)
class Item:
    """An item of a file that is put together by hand.

    Attributes:
        made_of: the items that a derived one is made of.
        size: of the box `ispe`; empty for no such box.
    """

    kind: bytes
    data: bytes
    size: tuple[int, ...]
    made_of: Sequence[int] = ()
    properties: bytes = b""


def grid_data(columns: int, rows: int, size: tuple[int, int]) -> bytes:
    return struct.pack(">BBBBII", 0, 1, rows - 1, columns - 1, *size)


def overlay_data(size: tuple[int, int], layers: int) -> bytes:
    return struct.pack(">BB4HII", 0, 1, 0, 0, 0, 0xFFFF, *size) + bytes(8 * layers)


def tile(side_px: int = 64) -> Item:
    """A square HEVC picture, with the box of its decoder."""
    content = heic(picture(side_px, side_px))
    at = content.find(b"hvcC") - 4
    (size,) = struct.unpack_from(">I", content, at)
    data = content[content.find(b"mdat") + 4 :]
    return Item(b"hvc1", data, (side_px, side_px), properties=content[at : at + size])


def still_file(items: Sequence[Item], brand: bytes = b"heic") -> bytes:
    """A HEIC file of these items, numbered from 1; the first is the primary one."""
    head = box(b"ftyp", brand + bytes(4) + b"mif1heic")
    infos = b"".join(
        full_box(b"infe", struct.pack(">HH4sB", number, 0, item.kind, 0), version=2)
        for number, item in enumerate(items, 1)
    )
    properties, associations = b"", b""
    count = 0
    for number, item in enumerate(items, 1):
        own = [full_box(b"ispe", struct.pack(">II", *item.size))] if item.size else []
        own += [item.properties] if item.properties else []
        properties += b"".join(own)
        indices = range(count + 1, count + 1 + len(own))
        count += len(own)
        associations += struct.pack(">HB", number, len(own)) + bytes(0x80 | index for index in indices)
    references = b"".join(
        box(b"dimg", struct.pack(f">HH{len(item.made_of)}H", number, len(item.made_of), *item.made_of))
        for number, item in enumerate(items, 1)
        if item.made_of
    )

    def meta(start: int) -> bytes:
        places, offset = b"", start
        for number, item in enumerate(items, 1):
            places += struct.pack(">HHHII", number, 0, 1, offset, len(item.data))
            offset += len(item.data)
        return full_box(
            b"meta",
            full_box(b"hdlr", bytes(4) + b"pict" + bytes(13))
            + full_box(b"pitm", struct.pack(">H", 1))
            + full_box(b"iloc", struct.pack(">BBH", 0x44, 0, len(items)) + places)
            + full_box(b"iinf", struct.pack(">H", len(items)) + infos)
            + box(b"iprp", box(b"ipco", properties) + full_box(b"ipma", struct.pack(">I", len(items)) + associations))
            + full_box(b"iref", references),
        )

    start = len(head) + len(meta(0)) + 8
    return head + meta(start) + box(b"mdat", b"".join(item.data for item in items))
