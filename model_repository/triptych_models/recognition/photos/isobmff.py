"""The boxes of HEIC and AVIF files: sizes, counts and colours that decide what decoding costs. Decodes no pixel.

Sources: ISO/IEC 14496-12 (boxes), 23008-12 (HEIF), the AV1 bitstream specification 5.5 and 5.9 (sequence header).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from triptych_models.recognition.photos.coded_pictures import av1_picture, has_parameter_sets, hevc_samples

_MAX_BOXES = 20_000
_HEADER_BYTES = 8
_DERIVED = {b"grid", b"iovl", b"iden", b"tmap"}
_METADATA = (b"Exif", b"mime")
_CODED = (b"av01", b"hvc1")


class Box(NamedTuple):
    """A box: its type, and where its content starts and ends."""

    kind: bytes
    start: int
    end: int


class Nclx(NamedTuple):
    """Code points of ITU-T H.273: colour primaries, transfer function."""

    primaries: int
    transfer: int


@dataclass
class StillFile:
    """What a HEIC or AVIF file says of its pictures.

    Attributes:
        sizes_px: width and height of each picture, from the boxes and, for AV1, from the coded pictures.
        item_kinds: four letters for each item: `hvc1`, `av01`, `grid`, `Exif` ...
        kind_offsets: where in the file those four letters stand.
        nclx: colours, where the file tells them.
        bit_depth: the most bits of a sample; 10 stands for all above 8.
        is_subsampled: whether each picture says that its colours have half the width and half the height.
        decodes: pictures that are decoded for the primary one.
        decoded_px: pixels of all these pictures.
        is_sized: whether the size of each coded picture was found: in its data for AV1, in its box for HEVC.
        is_complete: whether the file reaches as far as the data of each coded picture.
    """

    sizes_px: list[tuple[int, int]] = field(default_factory=list)
    item_kinds: dict[int, bytes] = field(default_factory=dict)
    kind_offsets: dict[int, int] = field(default_factory=dict)
    nclx: Nclx | None = None
    bit_depth: int = 8
    is_subsampled: bool = True
    decodes: int = 1
    decoded_px: int = 0
    is_sized: bool = True
    is_complete: bool = True


def read_still_file(content: bytes) -> StillFile | None:
    """The boxes of a file; None where they cannot be followed, or the file has no still picture."""
    try:
        return _read(content)
    except (struct.error, ValueError, LookupError):
        return None


def still_picture_of(content: bytes, still: StillFile) -> bytes:
    """A copy whose decoder reads the primary picture alone: no EXIF or XMP, and no sequence of frames.

    The turn of such a photo is in its boxes; damaged EXIF must not cost the answer.
    """
    copy = bytearray(content)
    for item, kind in still.item_kinds.items():
        if kind in _METADATA:
            copy[still.kind_offsets[item] : still.kind_offsets[item] + 4] = b"skip"
    if content[8:12] in (b"avis", b"msf1", b"mif1") and b"av01" in still.item_kinds.values():
        copy[8:12] = b"avif"
    return bytes(copy)


def _boxes(content: bytes, start: int, end: int) -> Iterator[Box]:
    for _ in range(_MAX_BOXES):
        if start + _HEADER_BYTES > end:
            return
        size, kind = struct.unpack_from(">I4s", content, start)
        head = _HEADER_BYTES
        if size == 1:
            (size,) = struct.unpack_from(">Q", content, start + 8)
            head = 16
        elif size == 0:
            size = end - start
        if size < head:
            raise ValueError("a box smaller than its header")
        yield Box(kind, start + head, min(end, start + size))
        start += size
    raise ValueError("too many boxes")


def _child(content: bytes, boxes: Iterator[Box], kind: bytes) -> Box | None:
    return next((box for box in boxes if box.kind == kind), None)


def _read(content: bytes) -> StillFile | None:
    meta = _child(content, _boxes(content, 0, len(content)), b"meta")
    if meta is None:
        return None
    parts = {box.kind: box for box in _boxes(content, meta.start + 4, meta.end)}
    if b"iinf" not in parts or b"iprp" not in parts:
        return None
    still = StillFile()
    _read_items(content, parts[b"iinf"], still)
    areas_px = _read_properties(content, parts[b"iprp"], still)
    primary = _unsigned(content, parts[b"pitm"].start + 4, 2 if content[parts[b"pitm"].start] == 0 else 4)
    references = _references(content, parts[b"iref"]) if b"iref" in parts else {}
    _read_coded_pictures(content, parts, areas_px, still)
    still.decodes, still.decoded_px = _decoded(primary, still, references, areas_px)
    return still


def _read_coded_pictures(content: bytes, parts: dict[bytes, Box], areas_px: dict[int, int], still: StillFile) -> None:
    """Reads what the pictures themselves say, and adds it to the areas of items that their boxes tell."""
    pictures = {item: kind for item, kind in still.item_kinds.items() if kind in _CODED}
    known = set()
    for item, extents in _extents(content, parts):
        kind = pictures.get(item)
        if kind is None:
            continue
        still.is_complete &= all(end <= len(content) for _, end in extents)
        data = b"".join(content[start:end] for start, end in extents)
        if kind == b"av01":
            width_px, height_px, bit_depth = av1_picture(data)
            still.sizes_px.append((width_px, height_px))
            areas_px[item] = max(areas_px.get(item, 0), width_px * height_px)
            still.bit_depth = max(still.bit_depth, bit_depth)
            known.add(item)
        elif item in areas_px and not has_parameter_sets(data):
            known.add(item)
    still.is_sized = known == pictures.keys()


def _unsigned(content: bytes, at: int, size: int) -> int:
    if at + size > len(content):
        raise ValueError("beyond the end")
    return int.from_bytes(content[at : at + size], "big")


def _read_items(content: bytes, iinf: Box, still: StillFile) -> None:
    head = 4 + (2 if content[iinf.start] == 0 else 4)
    for box in _boxes(content, iinf.start + head, iinf.end):
        version = content[box.start]
        if box.kind != b"infe" or version < 2:
            continue
        size = 2 if version == 2 else 4
        item = _unsigned(content, box.start + 4, size)
        offset = box.start + 4 + size + 2
        still.item_kinds[item] = content[offset : offset + 4]
        still.kind_offsets[item] = offset


def _read_properties(content: bytes, iprp: Box, still: StillFile) -> dict[int, int]:
    """Reads the properties of all items; returns the area in pixels of the items whose size is one of them."""
    ipco = _child(content, _boxes(content, iprp.start, iprp.end), b"ipco")
    if ipco is None:
        return {}
    sizes: dict[int, int] = {}
    for index, box in enumerate(_boxes(content, ipco.start, ipco.end), 1):
        if box.kind == b"ispe":
            width_px, height_px = struct.unpack_from(">II", content, box.start + 4)
            sizes[index] = width_px * height_px
            still.sizes_px.append((width_px, height_px))
        elif box.kind == b"av1C":
            still.is_subsampled &= content[box.start + 2] & 0x0C == 0x0C
        elif box.kind == b"hvcC":
            samples = hevc_samples(content[box.start : box.end])
            still.bit_depth = max(still.bit_depth, samples.bit_depth)
            still.is_subsampled &= samples.is_subsampled
        elif box.kind == b"colr" and content[box.start : box.start + 4] == b"nclx" and still.nclx is None:
            still.nclx = Nclx(*struct.unpack_from(">HH", content, box.start + 4))
    associations = (box for box in _boxes(content, iprp.start, iprp.end) if box.kind == b"ipma")
    areas_px: dict[int, int] = {}
    for ipma in associations:
        for item, index in _associations(content, ipma):
            if index in sizes:
                areas_px[item] = max(areas_px.get(item, 0), sizes[index])
    return areas_px


def _associations(content: bytes, ipma: Box) -> Iterator[tuple[int, int]]:
    """Items, with the number of each of their properties."""
    id_size = 2 if content[ipma.start] == 0 else 4
    index_size = 2 if content[ipma.start + 3] & 1 else 1
    at = ipma.start + 8
    for _ in range(min(_unsigned(content, ipma.start + 4, 4), _MAX_BOXES)):
        item = _unsigned(content, at, id_size)
        count = _unsigned(content, at + id_size, 1)
        at += id_size + 1
        for _ in range(count):
            yield item, _unsigned(content, at, index_size) & (0x7FFF if index_size == 2 else 0x7F)
            at += index_size


def _references(content: bytes, iref: Box) -> dict[int, list[int]]:
    """Derived item -> the items that it is made of, as often as they are named."""
    size = 2 if content[iref.start] == 0 else 4
    made_of: dict[int, list[int]] = {}
    for box in _boxes(content, iref.start + 4, iref.end):
        if box.kind != b"dimg":
            continue
        item = _unsigned(content, box.start, size)
        count = _unsigned(content, box.start + size, 2)
        first = box.start + size + 2
        made_of.setdefault(item, []).extend(_unsigned(content, first + size * n, size) for n in range(count))
    return made_of


def _decoded(
    item: int, still: StillFile, made_of: dict[int, list[int]], areas_px: dict[int, int], depth: int = 0
) -> tuple[int, int]:
    """Pictures that are decoded for an item, and their pixels: of a grid, its tiles; pictures of pictures multiply.

    Raises:
        ValueError: deeper than any camera nests them.
    """
    if depth > 4:
        raise ValueError("pictures nested too deep")
    if still.item_kinds.get(item) not in _DERIVED:
        return 1, areas_px.get(item, 0)
    known: dict[int, tuple[int, int]] = {}
    pictures, area_px = 0, 0
    for part in made_of.get(item, []):
        if part not in known:
            known[part] = _decoded(part, still, made_of, areas_px, depth + 1)
        pictures += known[part][0]
        area_px += known[part][1]
    return max(1, pictures), area_px


def _extents(content: bytes, parts: dict[bytes, Box]) -> Iterator[tuple[int, list[tuple[int, int]]]]:
    """Items, with the starts and ends of their pieces in the file."""
    iloc = parts[b"iloc"]
    version = content[iloc.start]
    offset_size, length_size = content[iloc.start + 4] >> 4, content[iloc.start + 4] & 15
    base_size, index_size = content[iloc.start + 5] >> 4, content[iloc.start + 5] & 15 if version else 0
    wide = 4 if version == 2 else 2
    at = iloc.start + 6
    count = _unsigned(content, at, wide)
    at += wide
    pieces = 0
    for _ in range(count):
        item = _unsigned(content, at, wide)
        method = _unsigned(content, at + wide, 2) & 15 if version else 0
        at += wide + (4 if version else 2)
        base = _unsigned(content, at, base_size) + (parts[b"idat"].start if method == 1 else 0)
        extents = []
        at += base_size
        pieces += _unsigned(content, at, 2)
        if pieces > _MAX_BOXES or method > 1:
            raise ValueError("too many pieces, or pieces of other items")
        for _ in range(_unsigned(content, at, 2)):
            start = base + _unsigned(content, at + 2 + index_size, offset_size)
            length = _unsigned(content, at + 2 + index_size + offset_size, length_size)
            extents.append((start, start + length if length_size else len(content)))
            at += index_size + offset_size + length_size
        at += 2
        yield item, extents
