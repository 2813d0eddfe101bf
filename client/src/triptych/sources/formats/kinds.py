"""Which format a file has, by its first bytes. Its name does not matter."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from triptych.errors import InvalidInput
from triptych.sources.formats.encoding import BROKEN, decode_head, open_bytes

_MAGIC = (
    (b"PAR1", "Parquet"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"\xd0\xcf\x11\xe0", "Excel"),  # .xls, or other files of old Office
    (b"%PDF", "a PDF document"),
    (b"SQLite format 3", "an SQLite database"),
    (b"ARROW1", "a Feather (Arrow) file"),
    (b"FEA1", "a Feather file"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"{\\rtf", "a rich text document"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive"),
    (b"\xff\xd8\xff", "a photo (JPEG)"),
    (b"\x89PNG", "a photo (PNG)"),
    (b"GIF8", "a photo (GIF)"),
    (b"RIFF", "a photo or a recording (RIFF)"),
    (b"II*\0", "a photo (TIFF)"),
    (b"MM\0*", "a photo (TIFF)"),
    (b"SIMPLE  =", "a FITS file"),
    (b"\x80\x04\x95", "a Python pickle"),
    (b"\x80\x05\x95", "a Python pickle"),
)
_MEMBERS = (
    ("xl/workbook.", "Excel"),
    ("word/", "a Word document"),
    ("ppt/", "a PowerPoint presentation"),
    ("Index/", "an Apple Numbers spreadsheet"),
    ("META-INF/MANIFEST.MF", "a Java archive"),
)
_MARKUP = re.compile(r"\s*<(\?xml|!--|!doctype|[a-z_][\w:.-]*[\s>/])", re.IGNORECASE)
_HTML = re.compile(
    r"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!doctype html|<html|<head|<body|<table)", re.IGNORECASE | re.DOTALL
)
_SAVE_AS = "Save or export the table as CSV, JSON lines, Excel (.xlsx) or Parquet."


def find_kind(path: Path) -> tuple[str, bool]:
    """The format ("Parquet", "Excel", "XML", "JSON", "CSV") and whether the file is gzip.

    Raises:
        InvalidInput: it is no table that is read; the message names what it is.
    """
    head = _head(path, False)
    if not head:
        raise InvalidInput(f"{str(path)!r} is empty: 0 bytes. Export the table again.")
    kind = _by_magic(path, head)
    if kind != "gzip":
        return kind or _by_text(path, head), False
    head = _head(path, True)
    if not head:
        raise InvalidInput(f"{str(path)!r} is a gzip file without content. Export the table again.")
    inner = _by_magic(path, head)
    if inner is not None:
        raise InvalidInput(f"{str(path)!r} is a gzip file with {inner} inside. Unpack it first.")
    return _by_text(path, head), True


def _head(path: Path, compressed: bool) -> bytes:
    try:
        with open_bytes(path, compressed) as file:
            return file.read(1 << 14)
    except BROKEN as error:
        raise InvalidInput(f"{str(path)!r} cannot be read ({error}). Fetch it again.") from error


def _by_magic(path: Path, head: bytes) -> str | None:
    kind = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    if head.startswith(b"PK\x03\x04"):
        kind = _inside_zip(path)
    elif kind is None and head[4:8] == b"ftyp":
        kind = "a photo or a video"
    if kind in (None, "Parquet", "Excel", "gzip"):
        return kind
    raise InvalidInput(f"{str(path)!r} is {kind}, not a table that is read. {_SAVE_AS}")


def _inside_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "mimetype" in names and b"opendocument.spreadsheet" in archive.read("mimetype")[:200]:
                return "Excel"
            if "mimetype" in names and b"opendocument" in archive.read("mimetype")[:200]:
                return "an OpenDocument text or presentation"
    except (zipfile.BadZipFile, RuntimeError, *BROKEN):
        return "a zip archive or spreadsheet that is damaged"
    return next((kind for part, kind in _MEMBERS if any(name.startswith(part) for name in names)), "a zip archive")


def _by_text(path: Path, head: bytes) -> str:
    text = decode_head(head).lstrip()
    controls = sum(letter < " " and letter not in "\t\r\n\f\x1f\0" for letter in text)
    if controls > len(text) / 20:
        raise InvalidInput(f"{str(path)!r} is no text and no format of tables that is known. {_SAVE_AS}")
    if _HTML.match(text):
        raise InvalidInput(f"{str(path)!r} is a web page (HTML), not a table. {_SAVE_AS}")
    if "urn:schemas-microsoft-com:office:spreadsheet" in text:
        raise InvalidInput(f"{str(path)!r} is an Excel 2003 XML file. Save it as .xlsx.")
    if _MARKUP.match(text):
        return "XML"
    return "JSON" if re.match(r'\{\s*["}]|\[\s*[\[{"\]\d]', text) else "CSV"
