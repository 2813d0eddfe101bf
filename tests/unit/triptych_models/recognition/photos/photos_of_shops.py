"""Files as shops send them in place of photos, and colour profiles, made by code."""

from __future__ import annotations

import base64
import io
import struct
import zipfile

import numpy as np
from PIL import Image

from tests.faults.photo_parts import encode, long, picture, tiff
from tests.faults.still_file_parts import box

JPEG = encode(picture(60, 40), "JPEG")
PNG = encode(picture(60, 40), "PNG")


def zipped(name: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(name, JPEG)
    return file.getvalue()


def raw_tiff(maker: bytes, *more: tuple[int, int, int, bytes], start: bytes = b"") -> bytes:
    """A TIFF as cameras write it: a small picture of 8 x 8, marked as a thumbnail, and directories of others."""
    tail = bytes(64) + maker.ljust(24, b"\0")
    entries = sorted([long(256, 8), long(257, 8), long(258, 8), long(259, 1), long(262, 1), long(277, 1), long(278, 8),
                      long(279, 64), (271, 2, len(maker) + 1, b"????"), (273, 4, 1, b"????"), *more])  # fmt: skip
    data = 8 + 2 + 12 * len(entries) + 4
    places = {273: data, 271: data + 64}
    entries = [(tag, kind, count, struct.pack("<I", places[tag]) if tag in places else value)
               for tag, kind, count, value in entries]  # fmt: skip
    content = tiff(entries, tail=tail)
    return content[:8] + start + content[8 + len(start) :] if start else content


THUMBNAIL, CHILDREN = long(254, 1), long(330, 8)


def other_files() -> dict[str, tuple[bytes, str]]:
    """Name of a case -> the file, and the words that its sentence must have."""
    return {
        "jpeg xl, bare": (b"\xff\x0a" + bytes(80), "JPEG XL"),
        "jpeg xl, boxed": (b"\x00\x00\x00\x0cJXL \r\n\x87\n" + bytes(80), "JPEG XL"),
        "jpeg 2000": (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + bytes(80), "JPEG 2000"),
        "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
        "svg behind a declaration": (b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- Made by hand -->\n<svg/>', "SVG"),
        "psd": (b"8BPS\x00\x01" + bytes(80), "Photoshop"),
        "cr2": (b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(90), "RAW photo (Canon CR2)"),
        "cr3": (box(b"ftyp", b"crx \0\0\0\1crx isom") + bytes(80), "RAW photo (Canon CR3)"),
        "nef": (raw_tiff(b"NIKON CORPORATION", THUMBNAIL, CHILDREN), "RAW photo (Nikon NEF)"),
        "arw": (raw_tiff(b"SONY", THUMBNAIL, CHILDREN), "RAW photo (Sony ARW)"),
        "pef": (raw_tiff(b"PENTAX", THUMBNAIL, CHILDREN), "RAW photo (Pentax PEF)"),
        "dng": (raw_tiff(b"Apple", (50706, 1, 4, b"\1\4\0\0")), "RAW photo (DNG)"),
        "raf": (b"FUJIFILMCCD-RAW 0201FF383501X-T3" + bytes(80), "RAW photo (Fujifilm RAF)"),
        "orf": (b"IIRO\x08\x00\x00\x00" + bytes(80), "RAW photo (Olympus ORF)"),
        "rw2": (b"IIU\x00\x18\x00\x00\x00" + bytes(80), "RAW photo (Panasonic RW2)"),
        "x3f": (b"FOVb" + bytes(80), "RAW photo (Sigma X3F)"),
        "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj", "PDF"),
        "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "EPS"),
        "eps with a preview": (b"\xc5\xd0\xd3\xc6" + bytes(30), "EPS"),
        "ico": (encode(picture(16, 16), "ICO", sizes=[(16, 16)]), "icon"),
        "mp4": (box(b"ftyp", b"isom\0\0\2\0isomiso2mp41") + bytes(80), "video (MP4)"),
        "mov": (box(b"ftyp", b"qt  \0\0\2\0qt  ") + bytes(80), "video (QuickTime"),
        "webm": (b"\x1a\x45\xdf\xa3" + bytes(80), "video (WebM"),
        "avi": (b"RIFF\xff\xff\0\0AVI LIST" + bytes(80), "video (AVI)"),
        "wav": (b"RIFF\xff\xff\0\0WAVEfmt " + bytes(80), "sound file (WAV)"),
        "mp3": (b"ID3\x04\x00" + bytes(80), "sound file (MP3)"),
        "product page": (b"<!DOCTYPE html>\n<html><head><title>Shoe</title>", "a web page (HTML), not a photo"),
        "page behind a comment": (b"\n<!-- v3 --><HTML lang=de>", "a web page (HTML), not a photo"),
        "error as xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML"),
        "error as json": (b'{"error": "not found"}', "JSON"),
        "json with base64": (b'{"b64": "/9j/4AAQSkZJRg=="}', "JSON that seems to hold a photo"),
        "kserve json": (b'{"inputs": [{"data": ["/9j/4AAQ"]}]}', "JSON that seems to hold a photo"),
        "csv": (b"id;price\n7;12,90\n", "plain text"),
        "text in UTF-16": ("photo of a shoe".encode("utf-16"), "UTF-16"),
        "zip": (zipped("shoe.jpg"), "ZIP archive or Office document"),
        "docx": (zipped("word/document.xml"), "ZIP archive or Office document"),
        "old office": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(80), "Office document"),
        "gzip": (b"\x1f\x8b\x08" + bytes(80), "gzip"),
        "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n", "git lfs pull"),
        "apple double": (b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X" + bytes(80), "AppleDouble"),
        "base64 of a jpeg": (base64.b64encode(JPEG), "base64 text of a photo"),
        "base64 of a png in lines": (base64.encodebytes(PNG), "base64 text of a photo"),
        "base64 of a short jpeg": (b"/9j/4AAQSkZJRgABAQAAAQ", "base64 text of a photo"),
        "data url": (b"data:image/jpeg;base64," + base64.b64encode(JPEG), "`data:` URL"),
        "url": (b"https://cdn.shop.example/shoe.jpg?v=3\n", "a URL"),
        "windows path": (rb"C:\photos\red shoe.JPG", "the path or name of a file"),
        "path": (b"/srv/photos/shoe.jpg", "the path or name of a file"),
        "name": ("Schuh größe 42.heic".encode(), "the path or name of a file"),
        "zeros": (bytes(5_000), "all zero"),
        "heic sequence": (box(b"ftyp", b"hevc\0\0\0\0hevc") + box(b"moov", bytes(90)), "HEIC sequence"),
        "jpeg cut in its header": (JPEG[:20], "JPEG file that is damaged or cut short"),
        "png cut in its header": (PNG[:20], "PNG file that is damaged or cut short"),
        "webp cut in its header": (encode(picture(9, 9), "WEBP")[:20], "WebP file"),
        "tiff cut in its header": (b"II*\x00\x08\x00", "TIFF file"),
        "web form": (b"--x\r\nContent-Disposition: form-data; name=f\r\n\r\n" + JPEG + b"\r\n--x--", "web form"),
        "answer with its header": (b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG, "HTTP answer"),
        "jpeg behind a byte order mark": (b"\xef\xbb\xbf" + JPEG, "JPEG file behind 3 other bytes"),
        "jpeg behind a line end": (b"\r\n" + JPEG, "JPEG file behind 2 other bytes"),
        "png behind a warning": (b"Notice: unset\n" + PNG, "PNG file behind 14 other bytes"),
        "png with line ends of Windows": (PNG.replace(b"\n", b"\r\n"), "line ends were changed"),
        "png with line ends of Unix": (PNG.replace(b"\r\n", b"\n"), "line ends were changed"),
        "jpeg as text of Latin-1": (JPEG.decode("latin-1").encode(), "decoded as text"),
        "png as text of Latin-1": (PNG.decode("latin-1").encode(), "decoded as text"),
        "jpeg as text with replacements": (JPEG.decode(errors="replace").encode(), "decoded as text"),
        "png as text with replacements": (PNG.decode(errors="replace").encode(), "decoded as text"),
        "text of python bytes": (repr(JPEG).encode(), "Python text"),
        "base64 as python bytes": (repr(base64.b64encode(JPEG)).encode(), "Python text"),
        "base64 in quotes": (b'"' + base64.b64encode(JPEG) + b'"', "base64 text of a photo"),
        "hexadecimal text": (JPEG.hex().encode(), "hexadecimal text"),
        "escaped data url": (b"data%3Aimage%2Fjpeg%3Bbase64%2C" + base64.b64encode(JPEG), "`data:` URL"),
        "page of Latin-1": ("<html><title>Schöne Schuhe</title>".encode("latin-1"), "a web page (HTML), not a photo"),
        "part of a page": (b"<p>Not found</p>", "a web page (HTML), not a photo"),
        "page behind a long comment": (b"<!--" + b"x" * 3_000 + b"--><html>", "a web page (HTML), not a photo"),
        "blanks": (b" \r\n" * 99, "all alike"),
        "one byte repeated": (b"\xff" * 5_000, "all alike"),
        "big tiff": (b"II+\x00\x08\x00\x00\x00" + bytes(40), "BigTIFF"),
    }  # fmt: skip


PRIMARIES = {
    "Display P3": ((0.3127, 0.3290), (0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
    "Adobe RGB": ((0.3127, 0.3290), (0.640, 0.330), (0.210, 0.710), (0.150, 0.060)),
    "ProPhoto RGB": ((0.3457, 0.3585), (0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)),
}
GAMMAS = {"Display P3": None, "Adobe RGB": 2.19921875, "ProPhoto RGB": 1.8}


def _tag(kind: bytes, content: bytes) -> bytes:
    return kind + bytes(4) + content


def _fixed(*values: float) -> bytes:
    return b"".join(struct.pack(">i", round(value * 65_536)) for value in values)


def _curve(gamma: float | None) -> bytes:
    """A power, or None for sRGB's curve, as ICC version 4 writes them."""
    if gamma is not None:
        return _tag(b"para", struct.pack(">HH", 0, 0) + _fixed(gamma))
    return _tag(b"para", struct.pack(">HH", 3, 0) + _fixed(2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    offset = 132 + 12 * len(tags)
    index = data = b""
    for name, content in tags.items():
        content = content.ljust(-(-len(content) // 4) * 4, b"\0")
        index += name + struct.pack(">II", offset + len(data), len(content))
        data += content
    header = struct.pack(">I4sI4s4s4s", offset + len(data), b"test", 0x04300000, b"mntr", space, b"XYZ ")
    header += bytes(12) + b"acsp" + bytes(28) + _fixed(0.9642, 1.0, 0.8249)
    return header.ljust(128, b"\0") + struct.pack(">I", len(tags)) + index + data


def rgb_profile(name: str) -> bytes:
    """An ICC profile, version 4, of one of `PRIMARIES`; the matrix is adapted from D65 to D50 where it must be."""
    white, *rest = PRIMARIES[name]
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in rest]).T
    white_xyz = np.array([white[0] / white[1], 1, (1 - sum(white)) / white[1]])
    to_xyz = columns * np.linalg.solve(columns, white_xyz)
    bradford = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    ratio = (bradford @ [0.9642, 1.0, 0.8249]) / (bradford @ white_xyz)
    to_xyz = np.linalg.inv(bradford) @ np.diag(ratio) @ bradford @ to_xyz
    curve = _curve(GAMMAS[name])
    tags = {b"wtpt": _tag(b"XYZ ", _fixed(0.9642, 1.0, 0.8249))}
    for channel, letter in enumerate((b"r", b"g", b"b")):
        tags[letter + b"XYZ"] = _tag(b"XYZ ", _fixed(*to_xyz[:, channel]))
        tags[letter + b"TRC"] = curve
    return _profile(b"RGB ", tags)


def grey_profile(gamma: float) -> bytes:
    return _profile(b"GRAY", {b"wtpt": _tag(b"XYZ ", _fixed(0.9642, 1.0, 0.8249)), b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """A printer whose four inks only darken: Lab from 2 x 2 x 2 x 2 points, lightness 100 without ink."""
    grid = [[255 - 255 * max(c, m, y, k), 128, 128] for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    table = bytes(value for point in grid for value in point)
    identity = bytes(range(256))
    lut = struct.pack(">BBBB", 4, 3, 2, 0) + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1) + identity * 4 + table + identity * 3
    profile = _profile(b"CMYK", {b"wtpt": _tag(b"XYZ ", _fixed(0.9642, 1.0, 0.8249)), b"A2B0": _tag(b"mft1", lut)})
    return profile[:8] + b"\x02\x40\0\0prtrCMYKLab " + profile[24:]


def encoded(image: Image.Image, image_format: str, profile: bytes | None) -> bytes:
    """Without loss, where the format can."""
    options: dict[str, object] = {"icc_profile": profile} if profile else {}
    if image_format == "JPEG":
        options |= {"quality": 95, "subsampling": 0}
    if image_format == "WEBP":
        options |= {"lossless": True}
    return encode(image, image_format, **options)
