"""Copies of photos without what no pixel depends on: comments, EXIF, XMP, thumbnails. For files damaged there.

Keeps what browsers heed: transparency, colours, and in a JPEG the EXIF with its orientation.
"""

from __future__ import annotations

import struct
import zlib

from triptych_models.recognition.photos.raw_photos import raw_photo_kind

# JPEG markers without a length, and the start of a scan, after which compressed data follows.
_STANDALONE = (0x01, *range(0xD0, 0xD9))
_SCAN, _COMMENT = 0xDA, 0xFE
_KEPT_SEGMENTS = ((0xE1, b"Exif\x00"), (0xE2, b"ICC_PROFILE\x00"), (0xEE, b"Adobe"))
_PNG_START = b"\x89PNG\r\n\x1a\n"
_KEPT_CHUNKS = (b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"iCCP")
_CHUNK_BYTES = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"cICP": 4}
_MAX_PARTS = 100_000

# Profiles of printers take 0.5 to 3 MB.
MAX_PROFILE_BYTES = 8_000_000

# Tags of a TIFF that describe its pixels, and the orientation, the profile.
_KEPT_TAGS = (
    *range(254, 260), 262, 266, *range(273, 280), 284, 292, 293, 317, 320, *range(322, 326), 332, 338, 339, 340, 341,
    347, *range(512, 522), *range(529, 533),
)  # fmt: skip
_PROFILE_TAG, _ORIENTATION_TAG = 34675, 274
_TAG_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}


def without_metadata(photo: bytes) -> bytes | None:
    """A copy without metadata; None where the format is another, or nothing would change."""
    try:
        if photo.startswith(b"\xff\xd8"):
            rest = _without_segments(photo)
        elif photo.startswith(_PNG_START):
            rest = _without_chunks(photo)
        elif photo[:4] in (b"II*\x00", b"MM\x00*") and raw_photo_kind(photo) is None:
            rest = _without_tags(photo)
        else:
            return None
    except (struct.error, IndexError, ValueError):
        return None
    return rest if rest != photo else None


def _without_segments(photo: bytes) -> bytes:
    """A JPEG without its application segments and comments."""
    kept = [photo[:2]]
    at = 2
    for _ in range(_MAX_PARTS):
        if photo[at] != 0xFF:
            raise ValueError("no marker")
        marker = photo[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == _SCAN:
            return b"".join([*kept, photo[at:]])
        end = at + 2 if marker in _STANDALONE else at + 2 + struct.unpack_from(">H", photo, at + 2)[0]
        if end < at + 2:
            raise ValueError("a segment shorter than its length")
        is_metadata = 0xE0 <= marker <= 0xEF or marker == _COMMENT
        starts = [start for kind, start in _KEPT_SEGMENTS if kind == marker]
        if not is_metadata or any(photo.startswith(start, at + 4) for start in starts):
            kept.append(photo[at:end])
        at = end
    raise ValueError("too many segments")


def _without_chunks(photo: bytes) -> bytes:
    """A PNG without its ancillary chunks; those of colour and transparency stay where they are whole."""
    kept = [_PNG_START]
    at = len(_PNG_START)
    for _ in range(_MAX_PARTS):
        if at + 12 > len(photo):
            break
        (size,) = struct.unpack_from(">I", photo, at)
        kind, end = photo[at + 4 : at + 8], at + 12 + size
        if kind[0] & 0x20 == 0 or (kind in _KEPT_CHUNKS and _is_whole(photo[at:end])):
            kept.append(photo[at:end])
        if kind == b"IEND":
            break
        at = end
    return b"".join(kept)


def _is_whole(chunk: bytes) -> bool:
    """Whether an ancillary chunk has its checksum, its length and, for a profile, data that can be unpacked."""
    kind, content = chunk[4:8], chunk[8:-4]
    if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
        return False
    if kind == b"iCCP":
        name, _, packed = content.partition(b"\0")
        try:
            return 0 < len(name) < 80 and bool(zlib.decompressobj().decompress(packed[1:], MAX_PROFILE_BYTES))
        except zlib.error:
            return False
    return len(content) == _CHUNK_BYTES.get(kind, len(content))


def _without_tags(photo: bytes) -> bytes:
    """A TIFF with a second directory behind its end, of the tags that describe its pixels."""
    order = "<" if photo[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "I", photo, 4)
    (count,) = struct.unpack_from(order + "H", photo, start)
    entries = []
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, values, offset = struct.unpack_from(order + "HHII", photo, at)
        size = _TAG_BYTES.get(kind, 1) * values
        is_whole = size <= 4 or offset + size <= len(photo)
        is_orientation = tag == _ORIENTATION_TAG and (kind, values) == (3, 1)
        if (tag in _KEPT_TAGS and tag != _ORIENTATION_TAG) or is_orientation or (tag == _PROFILE_TAG and is_whole):
            entries.append(photo[at : at + 12])
    padding = bytes(len(photo) % 2)
    directory = struct.pack(order + "H", len(entries)) + b"".join(entries) + bytes(4)
    moved = photo[:4] + struct.pack(order + "I", len(photo) + len(padding)) + photo[8:]
    return moved + padding + directory
