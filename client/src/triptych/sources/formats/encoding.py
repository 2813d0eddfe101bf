"""Text files: their encoding, gzip, and lines of bounded length. Bytes that are no text stay with their line."""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TextIO, cast

from triptych.errors import InvalidInput
from triptych.sources.formats.encoding_guess import guess_encoding

LONGEST_LINE = 1 << 24  # characters; a longer line is refused instead of held in memory
BROKEN = (EOFError, zlib.error, OSError)  # what reading a torn gzip file raises

# Lone surrogates cannot come out of a decoder: they mark what is wrong with a line.
_UNDECODABLE, _TOO_LONG, _TORN = "\udcff", "\udcfe", "\udcfd"
MARK = re.compile("[\ud800-\udfff]")
_LETTERS_LINE = re.compile(rb"[\x80-\xff][^\r\n]*")
_HANDLER = "triptych-mark-undecodable"
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
_NAMES = {
    "cp1252": "Windows-1252 (Western European)",
    "cp1250": "Windows-1250 (Central European)",
    "cp1251": "Windows-1251 (Cyrillic)",
    "cp1253": "Windows-1253 (Greek)",
    "cp1254": "Windows-1254 (Turkish)",
    "cp932": "Shift-JIS (Japanese)",
    "shift_jis": "Shift-JIS (Japanese)",
    "euc_jp": "EUC-JP (Japanese)",
    "gb18030": "GBK (Chinese)",
    "gbk": "GBK (Chinese)",
    "big5": "Big5 (Chinese)",
    "euc_kr": "EUC-KR (Korean)",
    "cp949": "EUC-KR (Korean)",
    "mac_roman": "Mac Roman",
    "koi8_r": "KOI8-R (Cyrillic)",
}


def _mark(error: UnicodeError) -> tuple[str, int]:
    return _UNDECODABLE, cast(UnicodeDecodeError, error).end


codecs.register_error(_HANDLER, _mark)


def fault_of(text: str, encoding: str) -> str | None:
    """Why a line is no text; None if it is."""
    if "\0" in text:
        return "it holds a NUL character, which no text has. Save the table again, or remove the character."
    if text.isascii():
        return None
    if _TORN in text:
        return "the file ends in the middle of its compressed data; rows after this one are lost. Fetch it again."
    if _TOO_LONG in text:
        return f"its line has more than {LONGEST_LINE:,} characters. Look for a quote that is not closed."
    if _UNDECODABLE in text:
        return f"it holds bytes that are no text in {name_of(encoding)}. Save the table as UTF-8, or set the encoding."
    return None


def shown(text: str) -> str:
    """A text whose undecodable places are the replacement character."""
    return text if text.isascii() else MARK.sub("\ufffd", text)


def name_of(encoding: str) -> str:
    """The name that people know."""
    plain = codecs.lookup(encoding).name.replace("-", "_")
    if plain in _NAMES:
        return _NAMES[plain]
    return encoding.upper().removesuffix("-LE").removesuffix("-BE")


@dataclass(frozen=True, slots=True)
class TextFile:
    """A text file whose encoding is known.

    Attributes:
        path: of the file.
        compressed: whether it is gzip.
        encoding: a codec of Python, without a byte order mark.
        skipped_bytes: length of the byte order mark.
        understood: sentences for the user.
    """

    path: Path
    compressed: bool
    encoding: str
    skipped_bytes: int
    understood: tuple[str, ...]

    def open(self) -> TextIO:
        """Opens it after the byte order mark; line ends are kept."""
        file = open_bytes(self.path, self.compressed)
        file.read(self.skipped_bytes)
        return io.TextIOWrapper(file, self.encoding, errors=_HANDLER, newline="")


def open_bytes(path: Path, compressed: bool) -> IO[bytes]:
    """Opens a file for its bytes, unpacked."""
    return cast(IO[bytes], gzip.open(path, "rb") if compressed else open(path, "rb"))


def bounded_lines(file: TextIO) -> Iterator[str]:
    """Lines with their ends; a line that is too long is cut and marked, a torn file ends in a marked line."""
    try:
        while line := file.readline(LONGEST_LINE):
            if len(line) < LONGEST_LINE or line[-1] in "\r\n":
                yield line
                continue
            while (rest := file.readline(LONGEST_LINE)) and rest[-1] not in "\r\n":
                pass
            yield f"{line[:1000]}{_TOO_LONG}\n"
    except BROKEN:
        yield _TORN


def find_encoding(path: Path, compressed: bool, forced: str | None) -> TextFile:
    """Finds the encoding by the whole file: byte order mark, UTF-16 and UTF-32 by their zeros, UTF-8 by validity.

    Raises:
        InvalidInput: the forced encoding does not exist or does not fit.
    """
    head = _head(path, compressed)
    bom, marked = _mark_of(head)
    if forced is not None:
        return _forced(path, compressed, forced, head, bom, marked)
    if marked is not None:
        told = () if marked == "utf-8" else (f"encoding {name_of(marked)}, by its byte order mark",)
        return TextFile(path, compressed, marked, len(bom), told)
    wide = _wide(head)
    if wide is not None:
        return TextFile(path, compressed, wide, 0, (f"encoding {name_of(wide)}, without a byte order mark",))
    valid, invalid, sample = _utf8_lines(path, compressed)
    if valid >= invalid:
        return TextFile(path, compressed, "utf-8", 0, ())
    guessed = guess_encoding(sample)
    told = (f"encoding {name_of(guessed)}, guessed; set the encoding if letters look wrong",)
    return TextFile(path, compressed, guessed, 0, told)


def decode_head(head: bytes) -> str:
    """The text of the first bytes of a file, in the Unicode encoding that they show."""
    bom, marked = _mark_of(head)
    return head[len(bom) :].decode(marked or _wide(head) or "utf-8", "replace")


def _mark_of(head: bytes) -> tuple[bytes, str | None]:
    return next(((bom, name) for bom, name in _BOMS if head.startswith(bom)), (b"", None))


def _head(path: Path, compressed: bool) -> bytes:
    try:
        with open_bytes(path, compressed) as file:
            return file.read(1 << 16)
    except BROKEN as error:
        raise InvalidInput(f"{str(path)!r} cannot be unpacked or read ({error}). Fetch it again.") from error


def _forced(path: Path, compressed: bool, forced: str, head: bytes, bom: bytes, marked: str | None) -> TextFile:
    try:
        codec = codecs.lookup(forced.strip()).name
        head.decode(codec, "replace")
    except (LookupError, ValueError) as error:
        raise InvalidInput(
            f"There is no text encoding {forced!r}. Expected a name such as utf-8, cp1252, utf-16 or shift_jis."
        ) from error
    plain = codec.removesuffix("-sig")
    if marked is not None and (marked == plain or marked.rpartition("-")[0] == plain):
        return TextFile(path, compressed, marked, len(bom), ())
    if plain in ("utf-16", "utf-32"):
        plain = _wide(head) or f"{plain}-le"
    lines = [line for line in head.splitlines()[:-1] or [head] if not line.isascii()]
    bad = sum(1 for line in lines if _fails(line, plain))
    if (plain in _WIDE and b"\0" not in head and head.isascii()) or (plain not in _WIDE and bad * 2 > len(lines)):
        raise InvalidInput(
            f"{str(path)!r} is not written in {forced}: most lines with letters beyond ASCII are no text in it. "
            "Set another encoding, or leave it out to have it found."
        )
    return TextFile(path, compressed, plain, 0, ())


def _fails(line: bytes, codec: str) -> bool:
    try:
        line.decode(codec)
    except UnicodeDecodeError:
        return True
    return False


def _wide(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a byte order mark: zeros stand at the same place of most characters."""
    part = head[: len(head) // 4 * 4]
    if len(part) < 8:
        return None
    zeros = [part[at::4].count(0) / (len(part) / 4) for at in range(4)]
    if min(zeros[2:]) > 0.9 and zeros[0] < 0.1:
        return "utf-32-le"
    if min(zeros[:2]) > 0.9 and zeros[3] < 0.1:
        return "utf-32-be"
    even, odd = (zeros[0] + zeros[2]) / 2, (zeros[1] + zeros[3]) / 2
    if odd > 0.1 and even < 0.02:
        return "utf-16-le"
    if even > 0.1 and odd < 0.02:
        return "utf-16-be"
    return None


def _utf8_lines(path: Path, compressed: bool) -> tuple[int, int, bytes]:
    """Lines with letters beyond ASCII that are UTF-8 and that are not, and a sample of the latter."""
    valid = invalid = 0
    sample: list[bytes] = []
    size, rest = 0, b""
    try:
        with open_bytes(path, compressed) as file:
            while block := file.read(1 << 20):
                if (block := rest + block).isascii():
                    rest = b""
                    continue
                whole, end, rest = block.rpartition(b"\n") if len(block) < LONGEST_LINE else (block, b"", b"")
                valid, invalid, size = _count(whole + end, sample, valid, invalid, size)
    except BROKEN:
        pass  # the rows before the damage are read, the damage is told then
    valid, invalid, size = _count(rest, sample, valid, invalid, size)
    return valid, invalid, b"\n".join(sample)


def _count(block: bytes, sample: list[bytes], valid: int, invalid: int, size: int) -> tuple[int, int, int]:
    if not _fails(block, "utf-8"):
        return valid + len(_LETTERS_LINE.findall(block)), invalid, size
    for line in re.split(rb"[\r\n]+", block):
        if line.isascii():
            continue
        if not _fails(line, "utf-8"):
            valid += 1
            continue
        invalid += 1
        if size < 1 << 17:
            sample.append(line[: 1 << 14])
            size += len(sample[-1])
    return valid, invalid, size
