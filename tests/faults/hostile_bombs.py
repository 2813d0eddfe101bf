"""Photos that cost more than they look: huge headers, bombs of every format, JPEGs of thousands of scans."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from PIL import Image

from tests.faults.photo_parts import (
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


def bombs() -> Iterator[HostilePhoto]:
    """Little that becomes much: what is packed is larger than what the header says, or as large as it may be."""
    packed = _zeros(100_000_000)
    yield HostilePhoto("bomb", "png 64 x 64 of 100 MB", png(64, 64, packed), "EITHER")
    yield HostilePhoto(
        "bomb",
        "png iCCP of 100 MB",
        png(64, 64, zlib.compress(bytes(64 * 193)), more=png_chunk(b"iCCP", b"x\x00\x00" + packed)),
        "EITHER",
    )
    yield HostilePhoto(
        "bomb",
        "png zTXt of 100 MB",
        png(64, 64, zlib.compress(bytes(64 * 193)), more=png_chunk(b"zTXt", b"x\x00\x00" + packed)),
        "EITHER",
    )
    many = png_chunk(b"tEXt", b"a\x00b") * 200_000
    yield HostilePhoto("bomb", "png of 200,000 texts", png(64, 64, zlib.compress(bytes(64 * 193)), more=many), "EITHER")
    side = 7_000
    for colour, depth, name in (
        (2, 8, "rgb"),
        (6, 8, "rgba"),
        (6, 16, "rgba of 16 bits"),
        (0, 16, "grey of 16 bits"),
        (4, 8, "grey and alpha"),
        (0, 1, "one bit"),
    ):
        row = 1 + (side * {0: 1, 2: 3, 4: 2, 6: 4}[colour] * depth + 7) // 8
        content = png(side, side, _zeros(row * side), depth=depth, colour=colour)
        yield HostilePhoto("bomb", f"png {side} x {side} {name}", content, "EITHER")
    flat = Image.new("RGB", (7_000, 7_000), (9, 99, 199))
    yield HostilePhoto("bomb", "jpeg 49 megapixels", encode(flat, "JPEG"), "EITHER")
    yield HostilePhoto(
        "bomb", "jpeg 49 megapixels progressive", encode(flat, "JPEG", progressive=True, subsampling=0), "EITHER"
    )
    yield HostilePhoto(
        "bomb", "tiff 49 megapixels deflated", encode(flat, "TIFF", compression="tiff_adobe_deflate"), "EITHER"
    )
    yield HostilePhoto("bomb", "gif 49 megapixels", encode(flat.convert("P"), "GIF"), "EITHER")
    yield HostilePhoto("bomb", "webp 49 megapixels", encode(flat, "WEBP", method=0, quality=10), "EITHER")
    yield HostilePhoto(
        "bomb", "webp 49 megapixels transparent", encode(flat.convert("RGBA"), "WEBP", method=0, quality=10), "EITHER"
    )
    del flat
    for wide in (8_000, 30_000):
        rows = 1 + 3 * wide
        yield HostilePhoto("bomb", f"png {wide} x {wide}", png(wide, wide, _zeros(min(rows * wide, 200_000_000))))
    deflated = _zeros(50_000_000)
    yield HostilePhoto("bomb", "tiff of 50 MB in a strip of 64 bytes", _deflated_tiff(8, 8, deflated), "EITHER")
    yield HostilePhoto("bomb", "tiff of a tile of 60,000 x 60,000", _tiled_tiff(64, 64, 60_000), "EITHER")
    yield HostilePhoto("bomb", "tiff of tiles of 65,535", _tiled_tiff(100, 100, 65_520), "EITHER")
    for bits, samples, photometric, name in (
        (8, 3, 2, "rgb"),
        (16, 3, 2, "rgb of 16 bits"),
        (8, 4, 5, "cmyk"),
        (8, 3, 6, "ycbcr"),
    ):
        content = _one_strip_tiff(side, bits, samples, photometric)
        yield HostilePhoto("bomb", f"tiff 49 megapixels {name} in one strip", content)
    yield HostilePhoto("bomb", "tiff 49 megapixels grey in one strip", _one_strip_tiff(side, 8, 1, 1), "EITHER")
    yield HostilePhoto("bomb", "bmp in 9 million runs", _run_length_bmp(3_000, 1))
    yield HostilePhoto("bomb", "bmp 49 megapixels in runs", _run_length_bmp(7_000, 250), "EITHER")
    yield HostilePhoto("bomb", "tiff of 2,000 tags that share 2 MB", _overlapping_tiff(2_000, 2_000_000), "EITHER")
    exif = png_chunk(b"eXIf", _overlapping_tiff(400, 2_000_000))
    yield HostilePhoto(
        "bomb", "png exif of 400 tags that share 2 MB", png(64, 64, zlib.compress(bytes(64 * 193)), more=exif), "EITHER"
    )
    frame = Image.new("P", (60, 60), 3)
    yield HostilePhoto(
        "bomb",
        "gif of 3,000 frames",
        encode(frame, "GIF", save_all=True, append_images=[Image.new("P", (60, 60), n % 9) for n in range(3_000)]),
        "ANSWERED",
    )
    yield HostilePhoto(
        "bomb",
        "png of 2,000 frames",
        encode(picture(32, 32), "PNG", save_all=True, append_images=[picture(32, 32).rotate(n) for n in range(500)]),
        "ANSWERED",
    )
    screen = bytearray(whole_photos()["gif"])
    screen[6:10] = struct.pack("<HH", 7_000, 7_000)
    yield HostilePhoto("bomb", "gif of a small frame on 49 megapixels", bytes(screen), "EITHER")


def _zeros(size: int) -> bytes:
    """Deflated zeros. After a full flush a megabyte is packed as the one before: one is packed, and repeated."""
    packer = zlib.compressobj(9, wbits=-15)
    megabyte = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    rest = packer.compress(bytes(size % 2**20)) + packer.flush()
    adler = (size % 65_521) << 16 | 1  # RFC 1950: of zeros, the one sum stays 1 and the other counts them
    return b"\x78\xda" + megabyte * (size // 2**20) + rest + struct.pack(">I", adler)


def _deflated_tiff(width_px: int, height_px: int, content: bytes) -> bytes:
    entries = [long(256, width_px), long(257, height_px), long(258, 8), long(259, 8), long(262, 1)]
    entries += [long(273, 8 + 2 + 9 * 12 + 4), long(277, 1), long(278, height_px), long(279, len(content))]
    return tiff(entries, tail=content)


def _one_strip_tiff(side_px: int, bits: int, samples: int, photometric: int) -> bytes:
    """Deflated in one piece, which is unpacked whole beside the picture."""
    content = _zeros(side_px * samples * bits // 8 * side_px)
    depths = struct.pack(f"<{samples}H", *[bits] * samples)
    after = 8 + 2 + 9 * 12 + 4
    depth = (258, 3, samples, struct.pack("<I", after) if samples > 2 else depths.ljust(4, b"\0"))
    entries = [long(256, side_px), long(257, side_px), depth, long(259, 8), long(262, photometric)]
    entries += [long(273, after + len(depths)), long(277, samples), long(278, side_px), long(279, len(content))]
    return tiff(entries, tail=depths + content)


def _run_length_bmp(side_px: int, run: int) -> bytes:
    rows = (bytes([run, 7]) * (side_px // run) + b"\0\0") * side_px + b"\0\1"
    header = struct.pack("<IiiHHIIiiII", 40, side_px, side_px, 1, 8, 1, len(rows), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1_078 + len(rows), 0, 0, 1_078) + header + bytes(1_024) + rows


def _overlapping_tiff(tags: int, size: int) -> bytes:
    base = [long(256, 8), long(257, 8), long(258, 8), long(259, 1), long(262, 1), long(273, 200), long(277, 1)]
    base += [long(278, 8), long(279, 64)]
    shared = [(40_000 + number, 1, size - 100, struct.pack("<I", 50)) for number in range(tags)]
    content = tiff([*base, *shared])
    return content + bytes(size - len(content))


def _tiled_tiff(width_px: int, height_px: int, tile_px: int) -> bytes:
    entries = [long(256, width_px), long(257, height_px), long(258, 8), long(259, 8), long(262, 1), long(277, 1)]
    entries += [long(322, tile_px), long(323, tile_px), long(324, 8 + 2 + 10 * 12 + 4), long(325, 4096)]
    return tiff(entries, tail=zlib.compress(bytes(4_000_000)))


def scans() -> Iterator[HostilePhoto]:
    """A progressive JPEG may have any number of scans, and each may cost a walk over the whole picture."""
    for side, scans in ((7_000, 2_000), (7_000, 200), (2_000, 20_000), (400, 60_000)):
        yield HostilePhoto("scans", f"jpeg {side} x {side} of {scans} scans", many_scans(side, scans))
    yield HostilePhoto(
        "scans",
        "jpeg progressive as cameras save it",
        encode(picture(1_600, 1_200), "JPEG", progressive=True),
        "ANSWERED",
    )


def many_scans(side_px: int, scans: int) -> bytes:
    """A grey progressive JPEG of one scan with the mean of each block, then empty refinements of one coefficient."""
    head = b"\xff\xd8" + jpeg_segment(0xDB, b"\x00" + b"\x01" * 64)
    head += jpeg_segment(0xC2, struct.pack(">BHHB", 8, side_px, side_px, 1) + b"\x01\x11\x00")
    # One code, "0", of one bit: class 0 says "no difference", class 1 an end-of-band run of 2**14 blocks and more.
    head += jpeg_segment(0xC4, b"\x00" + b"\x01" + bytes(15) + b"\x00")
    head += jpeg_segment(0xC4, b"\x10" + b"\x01" + bytes(15) + b"\xe0")
    blocks = ((side_px + 7) // 8) ** 2
    first = jpeg_segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + bytes((blocks + 7) // 8)
    # 15 bits a run: the code, then 14 bits that are added to 2**14.
    runs = -(-blocks // 2**14)
    empty = jpeg_segment(0xDA, b"\x01\x01\x00\x01\x01\x00") + bytes((15 * runs + 7) // 8)
    return head + first + empty * scans + b"\xff\xd9"


def huge_headers() -> Iterator[HostilePhoto]:
    """A few bytes that claim to be a wall-sized picture: refused before a pixel is allocated."""
    sides = [
        (50_000, 50_000),
        (65_500, 65_500),
        (7_072, 7_072),
        (1, 60_000_000),
        (60_000_000, 1),
        (2**31 - 1, 2**31 - 1),
    ]
    whole = whole_photos()
    for width_px, height_px in sides:
        size = f"{width_px} x {height_px}"
        yield HostilePhoto("huge header", f"png {size}", png(width_px, height_px, zlib.compress(b"\x00" * 99)))
        yield HostilePhoto("huge header", f"tiff {size}", rgb_tiff(width_px, height_px))
        bitmap = bytearray(whole["bmp"])
        bitmap[18:26] = struct.pack("<ii", width_px, height_px)
        yield HostilePhoto("huge header", f"bmp {size}", bytes(bitmap))
        bitmap[18:26] = struct.pack("<ii", -width_px, -height_px)
        yield HostilePhoto("huge header", f"bmp -{size}", bytes(bitmap))
        narrow = min(width_px, 65_535), min(height_px, 65_535)
        size = f"{narrow[0]} x {narrow[1]}"
        if narrow[0] * narrow[1] > 50_000_000:
            gif = bytearray(whole["gif"])
            gif[6:10] = struct.pack("<HH", *narrow)
            yield HostilePhoto("huge header", f"gif {size}", bytes(gif))
            for name in ("jpeg", "jpeg-progressive"):
                jpeg = bytearray(whole[name])
                start = jpeg.find(b"\xff\xc2" if name.endswith("progressive") else b"\xff\xc0")
                jpeg[start + 5 : start + 9] = struct.pack(">HH", *reversed(narrow))
                yield HostilePhoto("huge header", f"{name} {size}", bytes(jpeg))
    for side in (16_383, 12_000, 8_000):
        bits = (side - 1) | (side - 1) << 14
        lossless = b"\x2f" + struct.pack("<I", bits) + bytes(64)
        yield HostilePhoto("huge header", f"webp {side}", _riff(b"VP8L", lossless))
        extended = struct.pack("<I", 0) + (side - 1).to_bytes(3, "little") * 2
        yield HostilePhoto("huge header", f"webp extended {side}", _riff(b"VP8X", extended))
    for width_px, height_px in ((0, 0), (0, 9), (9, 0)):
        yield HostilePhoto("huge header", f"png {width_px} x {height_px}", png(width_px, height_px, zlib.compress(b"")))
        yield HostilePhoto("huge header", f"tiff {width_px} x {height_px}", rgb_tiff(width_px, height_px))


def rgb_tiff(width_px: int, height_px: int, *, compression: int = 1, strip: int = 256, size: int = 64) -> bytes:
    entries = [long(256, width_px), long(257, height_px), long(258, 8), long(259, compression), long(262, 1)]
    entries += [long(273, strip), long(277, 1), long(278, height_px), long(279, size)]
    return tiff(entries, tail=bytes(512))


def _riff(kind: bytes, content: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
