"""Damaged or strange metadata never costs a photo its answer, nor changes it."""

from __future__ import annotations

import functools
import struct
import zlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.faults.photo_parts import encode, jpeg_segment, picture, png_chunk
from tests.faults.still_file_parts import avif, heic
from triptych_models.errors import UnreadableImage
from triptych_models.recognition.preprocessing import Limits, preprocess
from triptych_models.recognition.transform import Transform

TRANSFORM = Transform(side_px=224, crop_ratio=0.875, interpolation="bicubic")
LIMITS = Limits(max_image_bytes=20_000_000, max_image_pixels=50_000_000)
ORIENTATION = 0x0112
# The package ignores Pillow's warnings about damaged tags; pytest makes errors of all warnings.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC")
EXIF_START = b"Exif\x00\x00"


def answer(photo: bytes) -> npt.NDArray[np.uint8]:
    return preprocess(photo, TRANSFORM, LIMITS)


@functools.cache
def clean(image_format: str) -> bytes:
    image = picture(90, 70)
    if image_format == "HEIC":
        return heic(image)
    return avif(image) if image_format == "AVIF" else encode(image, image_format)


def riff_chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def with_metadata(image_format: str, kind: str, content: bytes) -> bytes:
    """The clean photo with EXIF, XMP, IPTC, a comment or a profile of these bytes, written as the format writes it."""
    photo = clean(image_format)
    if image_format == "JPEG":
        markers = {"exif": (0xE1, EXIF_START), "xmp": (0xE1, b"http://ns.adobe.com/xap/1.0/\x00"),
                   "iptc": (0xED, b"Photoshop 3.0\x00"), "icc": (0xE2, b"ICC_PROFILE\x00\x01\x01"),
                   "jfif": (0xE0, b"JFIF\x00"), "mpf": (0xE2, b"MPF\x00"), "comment": (0xFE, b"")}  # fmt: skip
        marker, start = markers[kind]
        return photo[:2] + jpeg_segment(marker, (start + content)[:65_533]) + photo[2:]
    if image_format == "PNG":
        kinds = {"exif": b"eXIf", "xmp": b"iTXt", "iptc": b"zTXt", "icc": b"iCCP", "jfif": b"pHYs", "mpf": b"tIME"}
        return photo[:33] + png_chunk(kinds.get(kind, b"tEXt"), content) + photo[33:]
    if image_format == "WEBP":
        kinds = {"exif": b"EXIF", "icc": b"ICCP"}
        size = struct.pack("<I", (0x08 if kind == "exif" else 0x20) if kind in kinds else 0x04)
        extended = riff_chunk(b"VP8X", size + bytes([89, 0, 0, 69, 0, 0]))
        part = riff_chunk(kinds.get(kind, b"XMP "), content)
        body = b"WEBP" + extended + (part if kind == "icc" else b"") + photo[12:] + (b"" if kind == "icc" else part)
        return b"RIFF" + struct.pack("<I", len(body)) + body
    if image_format == "TIFF":
        tags = {"exif": 34_665, "xmp": 700, "iptc": 33_723, "icc": 34_675, "jfif": 282, "mpf": 34_853}
        return with_tag(photo, tags.get(kind, 270), content)
    options = {"exif": {"exif": EXIF_START + content}, "icc": {"icc_profile": content}}
    make = heic if image_format == "HEIC" else avif
    return make(picture(90, 70), **(options[kind] if kind == "icc" else {"xmp": content}))


def with_tag(photo: bytes, tag: int, content: bytes) -> bytes:
    """A little-endian TIFF with one more tag, whose content lies behind the end."""
    (start,) = struct.unpack_from("<I", photo, 4)
    (count,) = struct.unpack_from("<H", photo, start)
    entries = [photo[start + 2 + 12 * n : start + 14 + 12 * n] for n in range(count)]
    entries = [entry for entry in entries if entry[:2] != struct.pack("<H", tag)]
    at = len(photo) + 2 + 12 * (len(entries) + 1) + 4
    entries.append(struct.pack("<HHII", tag, 7, len(content), at))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    directory = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return photo[:4] + struct.pack("<I", len(photo)) + photo[8:] + directory + content


def exif_of(value: bytes, kind: int = 3, count: int = 1) -> bytes:
    return b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHI", ORIENTATION, kind, count) + value.ljust(4, b"\0")


STRANGE = {
    "orientation 0": ("exif", exif_of(b"\x00\x00")),
    "orientation 9": ("exif", exif_of(b"\x09\x00")),
    "orientation as text": ("exif", exif_of(b"six\x00", kind=2, count=4)),
    "orientation of 2**32 values": ("exif", exif_of(b"\x08\x00\x00\x00", count=2**32 - 1)),
    "exif of an unknown type": ("exif", exif_of(b"\x06\x00", kind=99)),
    "exif that is noise": ("exif", bytes(range(256)) * 4),
    "exif that ends at once": ("exif", b"II*\x00"),
    "exif with an offset beyond": ("exif", b"MM\x00*\x7f\xff\xff\xff" + bytes(20)),
    "exif that is its own child": ("exif", b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHII", 0x8769, 4, 1, 8)),
    "xmp of noise": ("xmp", b"\xff\xfe\x00" * 300),
    "xmp that turns": ("xmp", b'<x:xmpmeta tiff:Orientation="6"/>'),
    "iptc of noise": ("iptc", b"8BIM\x04\x04" + b"\xff" * 90),
    "profile of noise": ("icc", bytes(range(200)) * 3),
    "short jfif": ("jfif", b"\x01"),
    "multi-picture index of noise": ("mpf", b"II*\x00\x08\x00\x00\x00\x05\x00" + b"\xff" * 40),
    "empty comment": ("comment", b""),
}  # fmt: skip


# The encoder of HEIC turns the picture as XMP says.
CASES = [(kind, name) for kind in FORMATS for name in STRANGE if (kind, name) != ("HEIC", "xmp that turns")]


@pytest.mark.parametrize(("image_format", "name"), CASES)
def test_answer_is_that_of_the_clean_photo_when_metadata_is_strange(image_format: str, name: str) -> None:
    kind, content = STRANGE[name]
    assert np.array_equal(answer(with_metadata(image_format, kind, content)), answer(clean(image_format)))


def turns(exif: bytes) -> bool:
    """Whether the mutation made an orientation that is valid."""
    try:
        found = Image.Exif()
        found.load(exif)
        return found.get(ORIENTATION, 1) in range(2, 9)
    except Exception:
        return False


@settings(max_examples=150, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    image_format=st.sampled_from(FORMATS[:4]),
    kind=st.sampled_from(["exif", "xmp", "iptc", "icc", "jfif", "mpf", "comment"]),
    start=st.sampled_from([b"", exif_of(b"\x01\x00"), b"II*\x00\x08\x00\x00\x00", b"MM\x00*", b"8BIM", b"<x:xmpmeta"]),
    rest=st.binary(max_size=300),
)
def test_answer_is_that_of_the_clean_photo_whatever_its_metadata(
    image_format: str, kind: str, start: bytes, rest: bytes
) -> None:
    content = start + rest
    if kind == "exif" and turns(content):
        return
    assert np.array_equal(answer(with_metadata(image_format, kind, content)), answer(clean(image_format)))


def test_xmp_of_megabytes_costs_nothing() -> None:
    for image_format in ("TIFF", "WEBP", "HEIC", "AVIF"):
        size = 4_000_000 if image_format == "HEIC" else 10_000_000
        photo = with_metadata(image_format, "xmp", b"<x:xmpmeta>" + b"\xff" * size)
        assert np.array_equal(answer(photo), answer(clean(image_format)))
    part = jpeg_segment(0xE1, b"http://ns.adobe.com/xmp/extension/\x00" + b"\xff" * 65_000)
    assert np.array_equal(answer(clean("JPEG")[:2] + part * 150 + clean("JPEG")[2:]), answer(clean("JPEG")))


def test_chunk_with_a_wrong_checksum_costs_no_answer_unless_it_holds_pixels() -> None:
    photo = clean("PNG")
    comment = png_chunk(b"tEXt", b"Title\x00Shoe")[:-4] + b"\xde\xad\xbe\xef"
    assert np.array_equal(answer(photo[:33] + comment + photo[33:]), answer(photo))
    broken = bytearray(photo)
    broken[photo.find(b"IDAT") + 40] ^= 0xFF
    with pytest.raises(UnreadableImage, match=r"PNG file (that )?is damaged or cut short"):
        answer(bytes(broken))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "HEIC"])
def test_bytes_behind_the_end_change_nothing(image_format: str) -> None:
    assert np.array_equal(answer(clean(image_format) + b"<script>" * 99), answer(clean(image_format)))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP", "AVIF", "HEIC"])
def test_photo_is_refused_when_its_last_rows_are_cut(image_format: str) -> None:
    """A browser shows such a photo with grey rows; its embedding would be that of another photo."""
    with pytest.raises(UnreadableImage, match="damaged or cut short"):
        answer(clean(image_format)[: int(0.9 * len(clean(image_format)))])


def test_damaged_profile_in_a_png_chunk_is_ignored() -> None:
    for content in (b"", b"name", b"name\x00\x00" + zlib.compress(b"no profile"), b"name\x00\x09" + bytes(30)):
        assert np.array_equal(answer(with_metadata("PNG", "icc", content)), answer(clean("PNG")))


@pytest.mark.parametrize("kind", [b"gAMA", b"cHRM", b"sRGB", b"cICP", b"pHYs", b"tIME", b"bKGD", b"hIST", b"acTL"])
@pytest.mark.parametrize("content", [b"", b"\xff", b"\xff" * 99])
def test_png_is_answered_when_a_chunk_has_the_wrong_length(kind: bytes, content: bytes) -> None:
    photo = clean("PNG")
    pixels = answer(photo[:33] + png_chunk(kind, content) + photo[33:])
    if kind not in (b"gAMA", b"cHRM", b"cICP"):
        assert np.array_equal(pixels, answer(photo))
