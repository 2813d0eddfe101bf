"""Photos that no camera made: thousands of them, the same for a seed, made by code. Sends nothing, opens nothing.

Each case says what must come of it: `REFUSED` with a sentence, `ANSWERED` because it is odd but whole, or `EITHER`
where a damaged byte may or may not matter. None may crash, hang, or cost more than `tests.faults.bounds` allows.
"""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.faults.hostile_bombs import bombs, huge_headers, rgb_tiff, scans
from tests.faults.hostile_still_files import hostile_still_files
from tests.faults.photo_parts import (
    Fate,
    HostilePhoto,
    encode,
    jpeg_segment,
    long,
    picture,
    png,
    png_chunk,
    tiff,
    whole_photos,
)
from tests.faults.still_file_parts import whole_files

SEED = 11
STEP_BYTES = 64
FLIPS_A_FORMAT = 70
# The end of a file may be padding or a trailer that decoders do without.
TAIL = 0.9


def hostile_photos(seed: int = SEED) -> list[HostilePhoto]:
    """Every case, in the same order and of the same bytes for the same seed."""
    chance = random.Random(seed)
    return [
        *_truncated(),
        *_flipped(chance),
        *_spliced(chance),
        *_no_photos(chance),
        *huge_headers(),
        *bombs(),
        *_metadata(chance),
        *_odd_but_whole(),
        *_tiff_directories(),
        *scans(),
        *hostile_still_files(),
    ]


def _truncated() -> Iterator[HostilePhoto]:
    for name, content in whole_files().items():
        for end in range(0, len(content), STEP_BYTES):
            has_spare_tail = name.startswith("tiff") or name == "avif-frames"
            fate: Fate = "REFUSED" if end < TAIL * len(content) and not has_spare_tail else "EITHER"
            yield HostilePhoto("truncated", f"{name} cut at {end} of {len(content)}", content[:end], fate)


def _flipped(chance: random.Random) -> Iterator[HostilePhoto]:
    for name, content in whole_files().items():
        for number in range(FLIPS_A_FORMAT):
            damaged = bytearray(content)
            # Half of them in the header, where lengths and offsets are.
            end = min(len(damaged), 256) if number % 2 else len(damaged)
            places = [chance.randrange(end) for _ in range(1 + number % 4)]
            for place in places:
                damaged[place] ^= 1 << chance.randrange(8)
            yield HostilePhoto("bits flipped", f"{name} at {places}", bytes(damaged), "EITHER")


def _spliced(chance: random.Random) -> Iterator[HostilePhoto]:
    """The beginning of one format and the rest of another; runs overwritten with extremes."""
    photos = list(whole_files().items())
    for name, content in photos:
        for other, tail in photos:
            cut = chance.randrange(16, len(content))
            yield HostilePhoto("spliced", f"{name} to {cut}, then {other}", content[:cut] + tail[cut:], "EITHER")
        for fill in (0x00, 0x7F, 0x80, 0xFF):
            damaged = bytearray(content)
            start = chance.randrange(2, len(damaged) - 32)
            damaged[start : start + 32] = bytes([fill]) * 32
            yield HostilePhoto("spliced", f"{name} {fill:#x} from {start}", bytes(damaged), "EITHER")


def _no_photos(chance: random.Random) -> Iterator[HostilePhoto]:
    """Other files under a photo's name, and bytes that are nothing."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(zipfile.ZipInfo("shoe.jpg"), whole_photos()["jpeg"])
    image = picture(40, 30)
    others = {
        "zip": archive.getvalue(),
        "svg": b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "svg with entities": b'<!DOCTYPE s [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><svg>&b;</svg>',
        "html": b"<!doctype html><html><body><img src=x onerror=alert(1)></body></html>",
        "json": b'{"image": "shoe.jpg"}',
        "pdf": b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog >>\nendobj\n",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "pickle": b"\x80\x04\x95\x17\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
        "numpy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}",
        "elf": b"\x7fELF\x02\x01\x01" + bytes(57),
        "gzip": b"\x1f\x8b\x08" + bytes(40),
        "mp4": b"\x00\x00\x00\x20ftypisom" + bytes(64),
        "heic": b"\x00\x00\x00\x18ftypheic" + bytes(64),
        "avif": b"\x00\x00\x00\x1cftypavif" + bytes(64),
        "photoshop": b"8BPS\x00\x01" + bytes(64),
        "url": b"http://169.254.169.254/latest/meta-data/",
        "path": b"/etc/passwd",
        "path upwards": b"../../../../etc/shadow",
        "ppm": encode(image, "PPM"),
        "tga": encode(image, "TGA"),
        "ico": encode(image, "ICO", sizes=[(16, 16)]),
        "icns": b"icns" + bytes(64),
        "pcx": encode(image, "PCX"),
        "sgi": encode(image, "SGI"),
        "dds": b"DDS " + bytes(124),
        "fits": b"SIMPLE  =                    T" + b" " * 2850,
        "jpeg 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(64),
        "xbm": b"#define im_width 8\n#define im_height 8\nstatic char im_bits[] = { 0x00 };\n",
        "base64": b"/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBg==",
        "data url": b"data:image/png;base64,iVBORw0KGgo=",
        "nothing": b"",
        "one zero": b"\x00",
        "zeros": bytes(4096),
        "ones": b"\xff" * 4096,
        "utf-16": "photo".encode("utf-16"),
        "magic of jpeg": b"\xff\xd8\xff",
        "magic of png": b"\x89PNG\r\n\x1a\n",
        "magic of webp": b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        "magic of gif": b"GIF89a",
        "magic of bmp": b"BM",
        "magic of tiff": b"II*\x00",
        "magic of big tiff": b"II+\x00\x08\x00\x00\x00",
    }
    for name, content in others.items():
        yield HostilePhoto("no photo", name, content)
    for number in range(120):
        size = chance.choice((1, 2, 3, 7, 64, 1000, 5000))
        yield HostilePhoto("no photo", f"noise {number}", chance.randbytes(size))
    for name, content in others.items():  # with a photo's beginning
        head = chance.choice((b"\xff\xd8\xff\xe0\x00\x10JFIF\x00", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\x00"))
        yield HostilePhoto("no photo", f"{name} behind {head[:4]!r}", head + content)


def _with_segments(segments: bytes) -> bytes:
    whole = whole_photos()["jpeg"]
    return whole[:2] + segments + whole[2:]


def _metadata(chance: random.Random) -> Iterator[HostilePhoto]:
    """EXIF that points into itself, colour profiles of noise, Adobe markers that contradict the pixels."""
    loop = b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHII", 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    exifs = {
        "exif that is its own child": loop,
        "exif with 65,535 entries": b"II*\x00\x08\x00\x00\x00\xff\xff" + bytes(60_000),
        "exif with an offset beyond": b"II*\x00\xff\xff\xff\x7f",
        "exif with a count of 4 G": b"MM\x00*\x00\x00\x00\x08\x00\x01" + struct.pack(">HHII", 0x0112, 3, 2**32 - 1, 0),
        "exif orientation as text": b"II*\x00\x08\x00\x00\x00\x01\x00"
        + struct.pack("<HHI4s", 0x0112, 2, 4, b"six\x00"),
        "exif orientation as a fraction": b"II*\x00\x08\x00\x00\x00\x01\x00"
        + struct.pack("<HHII", 0x0112, 5, 1, 26)
        + bytes(4)
        + struct.pack("<II", 6, 0),
        "exif orientation 65,535": b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHIHH", 0x0112, 3, 1, 65_535, 0),
        "exif of nothing": b"",
    }
    exifs |= {f"exif of noise {n}": b"II*\x00\x08\x00\x00\x00" + chance.randbytes(200) for n in range(60)}
    png_of = png(64, 64, zlib.compress(bytes(64 * 193)))
    for name, exif in exifs.items():
        content = _with_segments(jpeg_segment(0xE1, b"Exif\x00\x00" + exif))
        yield HostilePhoto("metadata", f"jpeg {name}", content, "EITHER")
        yield HostilePhoto("metadata", f"png {name}", png_of[:33] + png_chunk(b"eXIf", exif) + png_of[33:], "EITHER")
    for number in range(40):
        noise = chance.randbytes(chance.choice((0, 1, 127, 128, 4000)))
        profile = jpeg_segment(0xE2, b"ICC_PROFILE\x00" + bytes([chance.randrange(256), chance.randrange(256)]) + noise)
        yield HostilePhoto("metadata", f"jpeg colour profile of noise {number}", _with_segments(profile), "ANSWERED")
    for transform in (0, 1, 2, 3, 255):
        adobe = jpeg_segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00" + bytes([transform]))
        yield HostilePhoto("metadata", f"jpeg adobe transform {transform}", _with_segments(adobe), "EITHER")
        cmyk = encode(picture(64, 48).convert("CMYK"), "JPEG")
        yield HostilePhoto("metadata", f"cmyk adobe transform {transform}", cmyk[:2] + adobe + cmyk[2:], "EITHER")
    for size in (0, 1, 2, 65_533):
        segment = b"\xff\xe1" + struct.pack(">H", size)
        yield HostilePhoto("metadata", f"jpeg segment that says {size}", _with_segments(segment), "EITHER")
    yield HostilePhoto(
        "metadata", "jpeg of 5,000 comments", _with_segments(jpeg_segment(0xFE, b"x") * 5_000), "ANSWERED"
    )
    mpo = jpeg_segment(0xE2, b"MPF\x00" + loop)
    yield HostilePhoto("metadata", "jpeg multi-picture index in a circle", _with_segments(mpo), "EITHER")


def _odd_but_whole() -> Iterator[HostilePhoto]:
    """Rare and valid: answered."""
    image = picture(64, 48)
    for image_format in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"):
        yield HostilePhoto(
            "odd but whole", f"{image_format} 1 x 1", encode(Image.new("RGB", (1, 1)), image_format), "ANSWERED"
        )
        yield HostilePhoto(
            "odd but whole", f"{image_format} 1 x 3000", encode(Image.new("RGB", (1, 3000)), image_format), "ANSWERED"
        )
        yield HostilePhoto(
            "odd but whole", f"{image_format} 3000 x 1", encode(Image.new("RGB", (3000, 1)), image_format), "ANSWERED"
        )
        trailing = encode(image, image_format) + b"<script>"
        yield HostilePhoto("odd but whole", f"{image_format} with a tail", trailing, "ANSWERED")
    deep = Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64))
    for name, content in {
        "png of 16 bits": encode(deep, "PNG"),
        "tiff of 16 bits": encode(deep, "TIFF"),
        "jpeg cmyk": encode(image.convert("CMYK"), "JPEG"),
        "tiff cmyk": encode(image.convert("CMYK"), "TIFF"),
        "tiff lab": encode(Image.new("LAB", (64, 48), (99, 130, 120)), "TIFF"),
        "tiff ycbcr": encode(image.convert("YCbCr"), "TIFF"),
        "png of one bit": encode(image.convert("1"), "PNG"),
        "png grey and alpha": encode(image.convert("LA"), "PNG"),
        "gif of two frames": encode(image, "GIF", save_all=True, append_images=[image.rotate(90)]),
        "webp of two frames": encode(image, "WEBP", save_all=True, append_images=[image.rotate(90)]),
        "tiff of two pages": encode(image, "TIFF", save_all=True, append_images=[image.rotate(90)]),
        "png of two frames": encode(image, "PNG", save_all=True, append_images=[image.rotate(90)]),
    }.items():
        yield HostilePhoto("odd but whole", name, content, "ANSWERED")
    for name in ("tiff of 32-bit floats", "tiff of 32-bit integers"):
        mode = "F" if "floats" in name else "I"
        yield HostilePhoto("odd but whole", name, encode(image.convert("L").convert(mode), "TIFF"))


def _tiff_directories() -> Iterator[HostilePhoto]:
    """Directories in circles, offsets beyond the file, counts that overflow."""
    whole = whole_photos()["tiff"]
    base = [long(256, 8), long(257, 8), long(258, 8), long(259, 1), long(262, 1)]
    rest = [long(277, 1), long(278, 8), long(279, 64)]
    yield HostilePhoto(
        "tiff directory",
        "next directory is this one",
        tiff([*base, long(273, 122), *rest], next_offset=8, tail=bytes(64)),
        "ANSWERED",
    )
    yield HostilePhoto(
        "tiff directory",
        "child directory is this one",
        tiff([*base, long(273, 134), *rest, long(330, 8)], tail=bytes(64)),
        "EITHER",
    )
    yield HostilePhoto(
        "tiff directory",
        "exif directory is this one",
        tiff([*base, long(273, 134), *rest, long(34_665, 8)], tail=bytes(64)),
        "EITHER",
    )
    for tag in (256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317, 322, 323, 338, 339):
        for value in (0, 1, 2, 255, 65_535, 2**31 - 1, 2**32 - 1):
            entries = [entry for entry in [*base, long(273, 8 + 2 + 9 * 12 + 4), *rest] if entry[0] != tag]
            changed = sorted([*entries, long(tag, value)])
            yield HostilePhoto("tiff directory", f"tag {tag} is {value}", tiff(changed, tail=bytes(64)), "EITHER")
        for count in (0, 2, 65_536, 2**30, 2**32 - 1):
            entries = [entry for entry in [*base, long(273, 122), *rest] if entry[0] != tag]
            changed = sorted([*entries, (tag, 4, count, struct.pack("<I", 8))])
            yield HostilePhoto("tiff directory", f"tag {tag} counts {count}", tiff(changed, tail=bytes(64)), "EITHER")
    yield HostilePhoto("tiff directory", "directory beyond the end", whole[:4] + struct.pack("<I", 2**31) + whole[8:])
    for kind in range(20):
        entries = [(256, kind, 1, struct.pack("<I", 8)), *base[1:], long(273, 122), *rest]
        yield HostilePhoto("tiff directory", f"width of type {kind}", tiff(entries, tail=bytes(64)), "EITHER")
    for compression in (
        2,
        3,
        4,
        5,
        6,
        7,
        8,
        32_771,
        32_773,
        32_809,
        32_946,
        34_661,
        34_676,
        34_712,
        34_925,
        50_000,
        50_001,
        65_535,
    ):
        yield HostilePhoto(
            "tiff directory",
            f"compression {compression} of zeros",
            rgb_tiff(64, 64, compression=compression),
            "EITHER",
        )
