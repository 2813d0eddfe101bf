"""Names files that are not read as photos, in the words of the person who sent them, each with its mend.

Looks at bytes alone; decodes nothing. A kind is added as one row of `_KINDS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from triptych_models.recognition.photos.raw_photos import raw_photo_kind

_SAVE_AS_JPEG = "Save or export it as JPEG or PNG."
_EXPORT_RAW = "Develop it in the camera or in a photo editor, and send the JPEG."
_DECODE_BASE64 = "Decode the base64 text, and send the bytes that it holds."
_READ_FILE = "Open the file and send its bytes, not its name."
_FETCH = "Download the photo and send its bytes, or give the URL to the client library, which downloads it."
_ONE_PHOTO = "Take the photos out of it and send them one by one."
_STILL = "Send one picture of it, as JPEG or PNG."
_BODY_ALONE = "Send the photo's bytes alone as the body: `curl --data-binary @photo.jpg`, not `-F`."
_BINARY = "Read and send the file as bytes, never as text; an FTP program has a binary mode."
_COMPLETE = "The upload or download ended early: send the whole file."

# As far as a beginning is looked at; a text is judged by it.
_HEAD_BYTES = 1024
_MAX_PATH_CHARS = 1024


class Kind(NamedTuple):
    """What a file is, for a sentence: "got {name}", then the mend."""

    name: str
    mend: str


def kind_of(content: bytes) -> Kind | None:
    """What the bytes are; None where no row of the tables matches."""
    head = content[:_HEAD_BYTES]
    for starts, at, kind in _KINDS:
        if head.startswith(starts, at):
            return kind
    raw = raw_photo_kind(content)
    if raw is not None:
        return Kind(f"a camera RAW photo ({raw})", _EXPORT_RAW)
    return (
        _box_kind(head)
        or _riff_kind(head)
        or _form_kind(head)
        or _text_kind(content)
        or _filler_kind(content)
        or _shifted_kind(head)
    )


def _kind(name: str, mend: str, *starts: bytes, at: int = 0) -> tuple[tuple[bytes, ...], int, Kind]:
    return starts, at, Kind(name, mend)


# Sources: the formats' own specifications; https://www.garykessler.net/library/file_sigs.html.
_KINDS = (
    _kind("a JPEG XL photo", _SAVE_AS_JPEG, b"\xff\x0a", b"\x00\x00\x00\x0cJXL \r\n\x87\n"),
    _kind("a JPEG 2000 photo", _SAVE_AS_JPEG, b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51"),
    _kind("a JPEG XR photo", _SAVE_AS_JPEG, b"II\xbc"),
    _kind("a Photoshop document (PSD)", _SAVE_AS_JPEG, b"8BPS"),
    _kind("a GIMP document (XCF)", _SAVE_AS_JPEG, b"gimp xcf"),
    _kind("a PDF document", "Export the photo from it as JPEG or PNG.", b"%PDF"),
    _kind("a PostScript file (EPS)", _SAVE_AS_JPEG, b"%!PS", b"\xc5\xd0\xd3\xc6"),
    _kind("an icon (ICO)", _SAVE_AS_JPEG, b"\x00\x00\x01\x00", b"\x00\x00\x02\x00"),
    _kind("an icon (ICNS)", _SAVE_AS_JPEG, b"icns"),
    _kind("an OpenEXR image", _SAVE_AS_JPEG, b"\x76\x2f\x31\x01"),
    _kind("a Radiance HDR image", _SAVE_AS_JPEG, b"#?RADIANCE", b"#?RGBE"),
    _kind("a DDS texture", _SAVE_AS_JPEG, b"DDS "),
    _kind("a BPG photo", _SAVE_AS_JPEG, b"BPG\xfb"),
    _kind("a QOI image", _SAVE_AS_JPEG, b"qoif"),
    _kind("a FLIF image", _SAVE_AS_JPEG, b"FLIF"),
    _kind("a FITS image", _SAVE_AS_JPEG, b"SIMPLE  ="),
    _kind("a Windows metafile (WMF or EMF)", _SAVE_AS_JPEG, b"\xd7\xcd\xc6\x9a", b"\x01\x00\x09\x00"),
    _kind("a BigTIFF file", "Save it as an ordinary TIFF, JPEG or PNG.", b"II+\x00", b"MM\x00+"),
    _kind("a DICOM image", _SAVE_AS_JPEG, b"DICM", at=128),
    _kind("a video (MPEG)", _STILL, b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"),
    _kind("a video (WebM or Matroska)", _STILL, b"\x1a\x45\xdf\xa3"),
    _kind("a video (Windows Media)", _STILL, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    _kind("a video (Flash)", _STILL, b"FLV\x01", b"FWS", b"CWS"),
    _kind("a video (QuickTime)", _STILL, b"moov", b"mdat", b"wide", b"free", b"skip", at=4),
    _kind("a sound file (MP3)", "Send a photo.", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"),
    _kind("a sound file (Ogg)", "Send a photo.", b"OggS"),
    _kind("a sound file (FLAC)", "Send a photo.", b"fLaC"),
    _kind("a sound file (AAC)", "Send a photo.", b"\xff\xf1", b"\xff\xf9"),
    _kind("a ZIP archive or Office document", _ONE_PHOTO, b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08"),
    _kind("an Office document (Word, Excel, PowerPoint)", _ONE_PHOTO, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
    _kind("a RAR archive", _ONE_PHOTO, b"Rar!\x1a\x07"),
    _kind("a 7-Zip archive", _ONE_PHOTO, b"7z\xbc\xaf\x27\x1c"),
    _kind("a gzip file", "Unpack it, and send the photo.", b"\x1f\x8b"),
    _kind("a compressed file (bzip2)", "Unpack it, and send the photo.", b"BZh"),
    _kind("a compressed file (xz)", "Unpack it, and send the photo.", b"\xfd7zXZ\x00"),
    _kind("a compressed file (Zstandard)", "Unpack it, and send the photo.", b"\x28\xb5\x2f\xfd"),
    _kind("a tar archive", _ONE_PHOTO, b"ustar", at=257),
    _kind("a NumPy array", "Send the photo's file; the client library also takes arrays of pixels.", b"\x93NUMPY"),
    _kind("a PNG file whose line ends were changed", _BINARY, b"\x89PNG\n", b"\x89PNG\r\r\n", b"\x89PNG\r\n\x1a\r\n"),
    _kind(
        "the bytes of a photo that were decoded as text",
        _BINARY,
        *(start.decode("latin-1").encode() for start in (b"\xff\xd8\xff", b"\x89PNG")),
        "\ufffd\ufffd\ufffd".encode(),
        "\ufffdPNG".encode(),
    ),
    _kind("an HTTP answer with its header", "Send what follows the empty line behind the header.", b"HTTP/"),
    _kind("a Parquet table", "Send the bytes of one photo of it.", b"PAR1"),
    _kind("an SQLite database", "Send the bytes of one photo of it.", b"SQLite format 3\x00"),
    _kind("a program", "Send a photo.", b"\x7fELF", b"MZ"),
    _kind(
        "an AppleDouble file (a companion, named ._..., that macOS writes beside a file)",
        "Send the file whose name lacks the leading `._`.",
        b"\x00\x05\x16\x07",
        b"\x00\x05\x16\x00",
    ),
    _kind(
        "a Git LFS pointer in place of the photo",
        "Run `git lfs pull` where the photos come from, and send the photo.",
        b"version https://git-lfs.github.com/",
    ),
    _kind("a PNM image (PPM, PGM or PBM)", _SAVE_AS_JPEG, *(b"P%d\n" % n for n in range(1, 8))),
)

# Brands of the first box of an ISO base media file: https://mp4ra.org/registered-types/brands.
_BRANDS = {
    b"crx ": Kind("a camera RAW photo (Canon CR3)", _EXPORT_RAW),
    b"hevc": Kind("a HEIC sequence without a still picture", _STILL),
    b"hevx": Kind("a HEIC sequence without a still picture", _STILL),
    b"msf1": Kind("an image sequence without a still picture", _STILL),
    b"avis": Kind("an AVIF sequence without a still picture", _STILL),
    b"qt  ": Kind("a video (QuickTime MOV)", _STILL),
    b"M4A ": Kind("a sound file (M4A)", "Send a photo."),
    b"M4B ": Kind("a sound file (M4B)", "Send a photo."),
}
_STILL_BRANDS = (b"avif", b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2")
# Major brands of plain MP4, fragmented MP4 and 3GPP; any other `ftyp` is some ISO media file.
_MP4_BRANDS = (b"iso", b"mp4", b"avc1", b"dash", b"M4V", b"3gp", b"3g2", b"MSNV", b"f4v", b"XAVC", b"mmp4")


def _box_kind(head: bytes) -> Kind | None:
    brand = head[8:12]
    if head[4:8] != b"ftyp" or brand in _STILL_BRANDS:
        return None
    if brand in _BRANDS:
        return _BRANDS[brand]
    name = "a video (MP4)" if brand.startswith(_MP4_BRANDS) else "a media file (MP4 family)"
    return Kind(name, _STILL)


def _riff_kind(head: bytes) -> Kind | None:
    if head[:4] not in (b"RIFF", b"RIFX") or head[8:12] == b"WEBP":
        return None
    forms = {b"AVI ": Kind("a video (AVI)", _STILL), b"WAVE": Kind("a sound file (WAV)", "Send a photo.")}
    return forms.get(head[8:12])


def _form_kind(head: bytes) -> Kind | None:
    is_form = head.startswith(b"--") and re.search(rb"^content-disposition:", head, re.IGNORECASE | re.MULTILINE)
    return Kind("a web form (multipart/form-data) around a file", _BODY_ALONE) if is_form else None


def _shifted_kind(head: bytes) -> Kind | None:
    """A photo, or a document, behind some bytes that do not belong to it."""
    found = [(at, name) for start, name in _SHIFTED.items() if (at := head.find(start)) > 0]
    if not found:
        return None
    at, name = min(found)
    return Kind(f"a {name} file behind {at} other bytes", "Remove what stands before it, and send the rest.")


# Base64 of the beginnings of JPEG, PNG, GIF, WebP (RIFF), TIFF, AVIF and HEIC (`ftyp` box) files, BMP.
_BASE64 = re.compile(r"(/9j/|iVBORw|R0lGOD|UklGR|SUkqA|TU0AK|AAAA[A-Z]GZ0eX|Qk[0-3])[A-Za-z0-9+/_=\s-]*\Z")
_ANY_BASE64 = re.compile(r"[A-Za-z0-9+/_\s-]{200,}={0,2}\s*\Z")
_JSON_PHOTO = re.compile(r'"(b64|base64|b64_json|image_b64|image|data|content|bytes)"\s*:')
_PATH = re.compile(
    r"(\.{0,2}/|~/|[A-Za-z]:[\\/]|\\\\)?[^\n\r\0<>{}]*\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|avif|hei[cf])\Z", re.I
)
_ROOTED = re.compile(r"(\.{0,2}/|~/|[A-Za-z]:[\\/]|\\\\)[^\n\r\0<>{}]+\Z")
_TAGS = (
    "html|head|body|title|link|style|script|meta|div|span|center|table|form|iframe|img|h[1-6]|p|a|b|i|br|hr|font|pre"
)
_HTML = re.compile(
    rf"\s*(<!--.*?-->\s*)*(<\?xml[^>]*>\s*)?(<!doctype html|<({_TAGS})[\s/>]|<!--(?!.*-->))", re.IGNORECASE | re.DOTALL
)
_SVG = re.compile(r"\s*<svg[\s/>]|\s*<(\?xml|!doctype|!--).*?<svg[\s/>]", re.I | re.S)
_LINK = "Link to the photo's own address, and send what that answers."


def _text_of(content: bytes) -> str | None:
    """The beginning as text; None where the bytes are no text in UTF-8 or UTF-16."""
    head = content[:_HEAD_BYTES]
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        encoding = "utf-16"
        head = head[: len(head) // 2 * 2]
    else:
        encoding = "utf-8-sig"
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError as error:
        if len(content) <= _HEAD_BYTES or error.start < _HEAD_BYTES - 4:
            return None
        text = head[: error.start].decode(encoding)  # the cut is inside a character
    is_text = bool(text.strip()) and all(char.isprintable() or char in "\t\n\r\f" for char in text)
    return text if is_text else None


def _text_kind(content: bytes) -> Kind | None:
    text = _text_of(content)
    head = content[:_HEAD_BYTES]
    if text is None and head.lstrip().startswith(b"<") and b"\0" not in head:
        text = head.decode("latin-1")  # an old web page
    if text is None:
        return None
    bare = text.strip().strip("\"'").strip()
    for matches, kind in _TEXTS:
        if matches(bare):
            return kind
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return Kind("a text file in UTF-16", "Send the bytes of a photo.")
    return Kind("plain text", "Send the bytes of a photo.")


def _is_json(bare: str) -> bool:
    return bare[:1] in ("{", "[") and (":" in bare or bare.endswith("]"))


_TEXTS: tuple[tuple[Callable[[str], object], Kind], ...] = (
    (
        lambda bare: re.match(r"data(:|%3A)([\w.+/-]|%2F)*([;,]|%3B|%2C)", bare, re.I),
        Kind("a `data:` URL", "Remove everything up to the comma, decode the base64 text, and send the bytes."),
    ),
    (lambda bare: re.match(r"(https?|ftp|s3|gs|azure|file)://\S+\Z", bare, re.I), Kind("a URL", _FETCH)),
    (_BASE64.match, Kind("base64 text of a photo", _DECODE_BASE64)),
    (
        lambda bare: re.match(r"b['\"]", bare),
        Kind("bytes that were written out as Python text", "Send the bytes themselves, not their str()."),
    ),
    (
        lambda bare: re.match(r"(0x)?[0-9a-f\s]{64,}\Z", bare, re.IGNORECASE),
        Kind("hexadecimal text", "Decode it, and send the bytes that it holds."),
    ),
    (_SVG.match, Kind("an SVG drawing", "Render it to PNG or JPEG.")),
    (_HTML.match, Kind("a web page (HTML), not a photo", _LINK)),
    (
        lambda bare: _is_json(bare) and _JSON_PHOTO.search(bare),
        Kind("JSON that seems to hold a photo as text", "Take the text out, decode the base64, and send the bytes."),
    ),
    (_is_json, Kind("JSON", "Send the bytes of a photo.")),
    (lambda bare: bare.startswith("<"), Kind("an XML document", "Send the bytes of a photo.")),
    (lambda bare: len(bare) <= _MAX_PATH_CHARS and (_ROOTED.match(bare) or _PATH.match(bare)),
     Kind("the path or name of a file", _READ_FILE)),
    (_ANY_BASE64.match, Kind("base64 text", _DECODE_BASE64)),
)  # fmt: skip


def _filler_kind(content: bytes) -> Kind | None:
    """Bytes that are all alike, or a photo that ends within its header."""
    if not content.strip(b"\x00"):
        return Kind(f"{len(content)} bytes that are all zero", "The file was not written fully: send the original.")
    if content.count(content[:1]) == len(content) > 1 or not content.strip():
        return Kind(f"{len(content)} bytes that are all alike", "The file was not written fully: send the original.")
    for starts, name in _BEGINNINGS.items():
        if content.startswith(starts) or (len(content) > 1 and starts.startswith(content)):
            return Kind(f"a {name} file that is damaged or cut short", _COMPLETE)
    if content[4:8] == b"ftyp":
        return Kind("a HEIC or AVIF file that is damaged or cut short", _COMPLETE)
    return None


_SHIFTED = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF89a": "GIF", b"%PDF-": "PDF"}
_BEGINNINGS = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"RIFF": "WebP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"BM": "BMP",
}
