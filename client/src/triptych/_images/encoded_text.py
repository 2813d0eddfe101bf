"""Photos in text: base64 and `data:` URLs -> bytes. Knows no file and no network."""

from __future__ import annotations

import base64
import json
import re
from urllib.parse import unquote, unquote_to_bytes

from triptych.errors import ImageTooLarge, InvalidInput

# The default limit of the server's config.pbtxt: downloads stop there, and larger pixels are compressed.
MAX_IMAGE_BYTES = 20_000_000

DATA_URL = re.compile("data:", re.IGNORECASE)

_SHOWN_CHARACTERS = 40
_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
)
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"hevc": "HEIC", b"mif1": "HEIC"}
_STRAY = re.compile(r"[^A-Za-z0-9+/]")
_ALPHABET = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


def photo_from_base64(text: str | bytes) -> bytes:
    """The photo of a base64 text, for every call that takes a photo.

    Line breaks, quotes around the text, the alphabet of URLs (`-` and `_`), missing `=` at the end, the escapes of JSON
    and the prefix of a `data:` URL are accepted.

    Args:
        text: as it came: from a JSON document, a form, a database.

    Raises:
        InvalidInput: no base64, or a cut one.
        ImageTooLarge: a photo of more than 20 MB, the server's limit.
    """
    plain = _plain(text)
    if DATA_URL.match(plain):
        return photo_from_data_url(plain)
    return _decoded(plain, "The base64 text")


def photo_from_data_url(url: str) -> bytes:
    """The content of a `data:` URL, base64 or percent-encoded, whatever media type it names (RFC 2397).

    Raises:
        InvalidInput: no comma, no base64 after `;base64`, or no content.
        ImageTooLarge: more than 20 MB.
    """
    head, comma, payload = url.partition(",")
    if not comma:
        raise InvalidInput(
            f"The data: URL {_shown(url)} has no comma; expected data:image/jpeg;base64,... with the photo after the "
            "comma. Check that it was not cut."
        )
    if head.lower().rstrip().endswith(";base64"):
        return _decoded(payload, "The data: URL")
    _check_size(len(payload) / 3)
    content = unquote_to_bytes(payload)
    _check_size(len(content))
    if not content:
        raise InvalidInput("The data: URL has nothing after its comma; expected a photo. Check that it was not cut.")
    return content


def format_of(head: bytes) -> str | None:
    """The format of a photo by its first 16 bytes, None for what is not known."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12])
    return next((name for signature, name in _SIGNATURES if head.startswith(signature)), None)


def format_in_base64(text: str) -> str | None:
    """The format of the photo of which a text is the base64, None for any other text."""
    head = "".join(text[:200].split()).lstrip("\"'")[:24]
    if len(head) < 24 or not _ALPHABET.fullmatch(head):
        return None
    return format_of(base64.urlsafe_b64decode(head.replace("+", "-").replace("/", "_")))


def is_base64_alphabet(text: str) -> bool:
    """Whether all characters of a text, without line breaks and quotes, are of base64."""
    return _ALPHABET.fullmatch("".join(text.split()).strip("\"'")) is not None


def _plain(text: str | bytes) -> str:
    """The text without quotes and without what JSON and `str(bytes)` add."""
    if isinstance(text, (bytes, bytearray, memoryview)):
        content = bytes(text)
        found = format_of(content[:16])
        if found and not content.isascii():
            raise InvalidInput(f"This is no base64 text, but the {found} photo itself. Pass it as it is.")
        text = content.decode("utf-8-sig", errors="replace")
    if not isinstance(text, str):
        raise InvalidInput(f"photo_from_base64 got a {type(text).__name__}; expected text or bytes. Pass the text.")
    plain = text.strip().removeprefix("\ufeff")
    if plain[:2] in ("b'", 'b"') and plain[-1] == plain[1]:
        plain = plain[1:]
    if len(plain) > 1 and plain[0] in "\"'" and plain[-1] == plain[0]:
        plain = plain[1:-1]
    if plain.startswith(("{", "[")):
        raise InvalidInput(f"The text is JSON; expected the base64 text alone. {advice_on_json(plain)}")
    return plain


def advice_on_json(text: str) -> str:
    """Which value of a JSON document to pass instead of the document."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return "Pass the value with the photo alone."
    keys = [key for key, value in found.items() if _is_photo_text(value)] if isinstance(found, dict) else []
    if not keys:
        return "Pass the value with the photo alone."
    return f"Pass triptych.photo_from_base64(json.loads(text)[{keys[0][:_SHOWN_CHARACTERS]!r}])."


def _is_photo_text(value: object) -> bool:
    return isinstance(value, str) and (format_in_base64(value) is not None or DATA_URL.match(value) is not None)


def _decoded(text: str, name: str) -> bytes:
    text = text.replace("\\r", "").replace("\\n", "").replace("\\/", "/")
    if "%" in text:
        text = unquote(text)
    _check_size(len(text) * 3 / 4 - text.count("\n"))
    _check_blanks(text, name)
    symbols = "".join(text.split()).translate(str.maketrans("-_", "+/")).rstrip("=")
    stray = _STRAY.search(symbols)
    if stray is not None:
        raise InvalidInput(
            f"{name} has the character {stray[0]!r} at place {stray.start() + 1}: {_shown(symbols)}; expected letters, "
            "digits, + and / (or - and _). Pass the base64 text alone and whole."
        )
    if not symbols:
        raise InvalidInput(f"{name} is empty; expected a photo. Check the source of the text.")
    if len(symbols) % 4 == 1:
        raise InvalidInput(
            f"{name} has {len(symbols)} symbols, which no base64 has: it was cut. Pass the whole text; a column of a "
            "database may be too short for it."
        )
    content = base64.b64decode(symbols + "=" * (-len(symbols) % 4))
    _check_size(len(content))
    return content


def _check_blanks(text: str, name: str) -> None:
    """Refuses blanks that stand for `+`; blanks at the same distance are line breaks that became blanks."""
    pieces = text.split()
    if " " in text.strip() and len({len(piece) for piece in pieces[:-1]}) > 1 and "\n" not in text:
        raise InvalidInput(
            f"{name} has blanks inside: a form or URL probably turned each + into a blank. "
            "Pass text.replace(' ', '+'), or encode the text before it is sent."
        )


def _check_size(size_bytes: float) -> None:
    if size_bytes > MAX_IMAGE_BYTES:
        raise ImageTooLarge(
            f"image too large: the text gives {size_bytes / 1e6:.1f} MB, over {MAX_IMAGE_BYTES / 1e6:g} MB, the limit. "
            "Send a smaller copy of the photo."
        )


def _shown(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!r}..."
