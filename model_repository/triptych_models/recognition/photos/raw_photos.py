"""Tells the RAW photos of cameras; many of them are TIFF files, whose first picture is a thumbnail."""

from __future__ import annotations

import struct
from typing import NamedTuple

_STARTS = {
    b"FUJIFILMCCD-RAW": "Fujifilm RAF",
    b"IIRO": "Olympus ORF",
    b"IIRS": "Olympus ORF",
    b"MMOR": "Olympus ORF",
    b"IIU\x00": "Panasonic RW2",
    b"FOVb": "Sigma X3F",
    b"\x00MRM": "Minolta MRW",
    b"II\x1a\x00\x00\x00HEAPCCDR": "Canon CRW",
}
_MAKERS = {
    "NIKON": "Nikon NEF",
    "SONY": "Sony ARW",
    "CANON": "Canon TIF",
    "PENTAX": "Pentax PEF",
    "SAMSUNG": "Samsung SRW",
    "HASSELBLAD": "Hasselblad 3FR",
    "EPSON": "Epson ERF",
    "KODAK": "Kodak DCR",
    "EASTMAN KODAK": "Kodak DCR",
    "MAMIYA": "Mamiya MEF",
    "LEICA": "Leica RAW",
    "PHASE ONE": "Phase One IIQ",
}
# Tags of a TIFF directory.
_SUBFILE_TYPE, _PHOTOMETRIC, _MAKE, _SUB_DIRECTORIES, _DNG_VERSION = 254, 262, 271, 330, 50706
_COLOUR_FILTER_ARRAY, _LINEAR_RAW = 32803, 34892
_MAX_ENTRIES = 200


class _Entry(NamedTuple):
    kind: int
    values: int
    value: int
    offset: int


def raw_photo_kind(content: bytes) -> str | None:
    """Maker and suffix of a RAW photo, "Nikon NEF"; None for everything else.

    A TIFF is RAW if it has a DNG version or samples of a colour filter, or if its first picture is marked as a
    thumbnail of others. A scanner's or an editor's TIFF has none of them.
    """
    for start, name in _STARTS.items():
        if content.startswith(start):
            return name
    if content[:4] not in (b"II*\x00", b"MM\x00*"):
        return None
    if content[8:10] == b"CR":
        return "Canon CR2"
    if content[8:12] in (b"IIII", b"MMMM"):
        return "Phase One IIQ"
    entries = _first_directory(content)
    if _DNG_VERSION in entries:
        return "DNG"
    maker = _text(content, entries.get(_MAKE)).upper()
    photometric = entries[_PHOTOMETRIC].value if _PHOTOMETRIC in entries else 0
    is_thumbnail = _SUBFILE_TYPE in entries and entries[_SUBFILE_TYPE].value & 1 == 1
    if photometric in (_COLOUR_FILTER_ARRAY, _LINEAR_RAW) or (is_thumbnail and _SUB_DIRECTORIES in entries):
        return next((name for start, name in _MAKERS.items() if maker.startswith(start)), "TIFF of a camera's sensor")
    return None


def _first_directory(content: bytes) -> dict[int, _Entry]:
    """Tag -> entry; what lies beyond the end of the file is left out."""
    order = "<" if content[:2] == b"II" else ">"
    try:
        (start,) = struct.unpack_from(order + "I", content, 4)
        (count,) = struct.unpack_from(order + "H", content, start)
        entries = {}
        for at in range(start + 2, start + 2 + 12 * min(count, _MAX_ENTRIES), 12):
            tag, kind, values, offset = struct.unpack_from(order + "HHII", content, at)
            value = struct.unpack_from(order + "H", content, at + 8)[0] if kind == 3 else offset
            entries[tag] = _Entry(kind, values, value, offset if values > 4 else at + 8)
    except struct.error:
        return {}
    return entries


def _text(content: bytes, entry: _Entry | None) -> str:
    if entry is None or entry.values > 200:
        return ""
    return content[entry.offset : entry.offset + entry.values].split(b"\x00")[0].decode("ascii", "replace").strip()
