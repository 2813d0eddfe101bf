"""Sentences for what is passed where a photo belongs and is none: what it is, and what to pass instead."""

from __future__ import annotations

import errno
import glob
import ntpath
import numbers
import os
import re
import unicodedata
from collections.abc import Iterable, Mapping
from urllib.parse import unquote

from triptych._images.encoded_text import DATA_URL, advice_on_json, format_in_base64, format_of, is_base64_alphabet
from triptych.errors import InvalidInput, UnreadableImage

EXPECTED = (
    "expected one photo: bytes (of a JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC), a path, a URL, a binary file "
    "object, a PIL image or an array uint8[H,W,3]"
)
URL = re.compile("https?://", re.IGNORECASE)

_SHOWN_CHARACTERS = 80
_MOST_NAMES = 10_000
_LONGEST_PATH_BYTES = 4096
_MANY = "Pass several photos to recognize_many, classify_many or embed_many."
_EMPTY = "an empty cell of a table for example"
_PHOTO_NAME = re.compile(r"\.(jpe?g|jpe|jfif|png|webp|gif|bmp|tiff?|avif|hei[cf])$", re.IGNORECASE)
# Bytes of a photo that became text by Latin-1, by errors="replace" or by errors="surrogateescape".
_DECODED = re.compile("\xff\xd8\xff|\x89PNG|\ufffdPNG|\ufffd{3}|\udcff\udcd8|\udc89PNG|GIF8[79]a|RIFF(?s:.){4}WEBP")
_WITHOUT_SCHEME = re.compile(
    r"(//|www\.|[a-z0-9-]+(\.[a-z0-9-]+)*\.(com|net|org|shop|store|io|de|fr|uk|eu|example)/)", re.I
)
_PHOTO_KEY = re.compile("image|photo|img|pic|url|path|bytes|body|file|src", re.IGNORECASE)
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def refuse_value(photo: object) -> InvalidInput:
    """For a value of a type that holds no photo."""
    return InvalidInput(f"This is no photo: got {kind_of(photo)}; {EXPECTED}. {_advice(photo)}")


def refuse_bytes(content: bytes) -> UnreadableImage | None:
    """For bytes that are the text of a photo, of its path or of its URL; None for a photo, whole or damaged."""
    head = content[:_LONGEST_PATH_BYTES]
    if format_of(head[:16]) or not head.isascii() or b"\0" in head:
        return None
    text = content.decode("ascii", errors="replace")
    if URL.match(text) or DATA_URL.match(text) or text.startswith("file://"):
        found, mend = f"a URL as bytes ({shown(text)})", "Pass it as str: url.decode()."
    elif len(text) <= _LONGEST_PATH_BYTES and "\n" not in text and (_PHOTO_NAME.search(text) or os.path.isfile(text)):
        found, mend = f"the path of a file as bytes ({shown(text)})", "Pass it as str: os.fsdecode(path)."
    else:
        described = _describe(text)
        if described is None:
            return None
        found, mend = described
    return UnreadableImage(f"This is no photo: got {found}; {EXPECTED}. {mend}")


def refuse_path(path: str | os.PathLike[str], error: OSError | ValueError) -> InvalidInput:
    """For a path that cannot be read."""
    text = os.fspath(path)
    if not isinstance(path, str) and re.match(r"(https?|file):[/\\]|data:", text):
        return InvalidInput(
            f"There is no file {shown(text)}; {EXPECTED}. Pass a URL as str: a path drops one of its slashes."
        )
    described = _describe(text)
    if described is not None:
        return InvalidInput(f"This is no photo: got {described[0]}; {EXPECTED}. {described[1]}")
    if isinstance(error, ValueError):
        return InvalidInput(f"{shown(text)} cannot be a path ({error}); {EXPECTED}. Check the path.")
    if isinstance(error, IsADirectoryError):
        return InvalidInput(f"{shown(text)} is a directory; {EXPECTED}. Pass the files in it one call each.")
    if isinstance(error, (FileNotFoundError, NotADirectoryError)) or error.errno == errno.EINVAL:
        return InvalidInput(f"There is no file {shown(text)}; {EXPECTED}. {_about_missing(text)}")
    if error.errno == errno.ENAMETOOLONG:
        return InvalidInput(
            f"The text {shown(text)} of {len(text)} characters is too long for a path; {EXPECTED}. If it holds a "
            "photo, pass the photo's bytes; triptych.photo_from_base64 reads base64."
        )
    return InvalidInput(
        f"The file {shown(text)} cannot be read ({error.strerror or error}); {EXPECTED}. "
        "Check the path and its permissions."
    )


def local_path(url: str) -> str:
    """The path of a file:// URL. Raises `InvalidInput` where it names another machine."""
    host, slash, path = url[len("file://") :].partition("/")
    if host.lower() not in ("", "localhost") or not slash:
        raise InvalidInput(
            f"The URL {shown(url)} names a file of another machine; expected file:///PATH. Copy the file to this "
            "machine and pass its path."
        )
    return slash + unquote(path)


def kind_of(value: object) -> str:
    """A value's type, and for arrays dtype and shape."""
    if value is None:
        return "None"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        return f"a {name} {str(dtype).removeprefix('torch.')}[{','.join(map(str, shape))}]"
    return f"a {name}"


def shown(path: str | os.PathLike[str]) -> str:
    """A path or URL for a message, shortened."""
    text = repr(os.fspath(path))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


def _describe(text: str) -> tuple[str, str] | None:
    """What a text is that is no path, and what to pass instead; None where it may be a path."""
    plain = text.strip().removeprefix("\ufeff")
    quoted = plain[1:-1] if plain[:1] in "\"'" and plain[-1:] == plain[:1] else plain
    if not plain:
        return "an empty text", "Check the source of the photo; leave out rows without one."
    if plain.startswith(("b'", 'b"')):
        return "the text of a bytes object (b'...')", "Pass the bytes themselves, not their str()."
    if _DECODED.match(text):
        return (
            "the bytes of a photo that were decoded as text",
            "Pass the bytes: open the file with mode 'rb', or pass response.content instead of response.text.",
        )
    if plain.startswith("<"):
        return "a text that starts with '<', a web page or an SVG drawing", "Pass the photo itself."
    if plain.startswith(("{", "[")) and plain.endswith(("}", "]")):
        return "JSON text", advice_on_json(plain)
    found = format_in_base64(quoted)
    if found or (len(plain) > _LONGEST_PATH_BYTES and is_base64_alphabet(plain)):
        return (
            f"the base64 text of a {found or 'file'}{' photo' if found else ''}",
            "Pass triptych.photo_from_base64(text).",
        )
    if len(quoted) > 32 and re.fullmatch(r"[0-9A-Fa-f]{32}", quoted[:32]) and format_of(bytes.fromhex(quoted[:32])):
        return "the hexadecimal text of a photo", "Pass bytes.fromhex(text)."
    if plain.lower() in ("nan", "none", "null", "<na>", "nat"):
        return f"the text {plain!r}, {_EMPTY}", "Leave out rows without a photo."
    return None


def _about_missing(text: str) -> str:
    if "://" in text:
        return "The client downloads only http:// and https:// URLs: download the photo and pass its bytes."
    if text.startswith("~"):
        return "Python does not expand ~: pass os.path.expanduser(path)."
    if text[0] in "\"'" and text[-1] == text[0]:
        return "Remove the quotes around it."
    if glob.has_magic(text):
        return "It is a pattern: pass sorted(glob.glob(pattern)) to recognize_many, classify_many or embed_many."
    if _WITHOUT_SCHEME.match(text):
        return "If it is a URL, write https:// before it."
    if "\\" in text and (mend := _about_backslashes(text)):
        return mend
    if similar := _similar(text):
        return f"Did you mean {shown(similar)}?"
    if os.path.isabs(text):
        return "Check the path."
    return f"Check the path, which is relative to the current folder {shown(os.getcwd())}."


def _about_backslashes(text: str) -> str | None:
    if os.path.isfile(turned := text.replace("\\", "/")):
        return f"Write / between folders: pass {shown(turned)}."
    if _WINDOWS.match(text) and os.sep == "/":
        return f"It is a path of Windows: pass the path of {ntpath.basename(text)[:40]!r} on this machine."
    return "Write / between folders." if os.sep == "/" else None


def _similar(text: str) -> str | None:
    """An existing file whose name differs in letter case, Unicode form, quoting or blanks around it."""
    for candidate in (
        text.strip(),
        unquote(text),
        unicodedata.normalize("NFC", text),
        unicodedata.normalize("NFD", text),
    ):
        if candidate != text and os.path.isfile(candidate):
            return candidate
    folder, name = os.path.split(text)
    try:
        with os.scandir(folder or os.curdir) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST_NAMES), strict=False)]
    except (OSError, ValueError):
        return None
    wanted = _folded(name)
    return next((os.path.join(folder, each) for each in names if _folded(each) == wanted), None)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name.strip()).casefold()


def _advice(photo: object) -> str:
    """What to pass instead of a value that is no `ImageLike`."""
    package = type(photo).__module__.partition(".")[0]
    is_nan = isinstance(photo, numbers.Number) and photo != photo
    if photo is None or is_nan or type(photo).__name__ in ("NAType", "NaTType"):
        return f"It is {_EMPTY}: leave out rows without a photo."
    if package == "torch":
        return (
            "Of a tensor float[3,H,W] from 0 to 1, pass tensor.mul(255).round().byte().permute(1, 2, 0).cpu().numpy()."
        )
    if package == "pandas":
        return _MANY
    if hasattr(photo, "status_code") and hasattr(photo, "content"):
        return f"It is a response with status {photo.status_code}: pass response.content."
    for method in ("as_py", "read_bytes"):
        if callable(getattr(photo, method, None)) and not isinstance(photo, type):
            return f"Pass photo.{method}()."
    if hasattr(photo, "__array__"):
        return "Pass numpy.asarray(photo)."
    if isinstance(photo, Mapping):
        return _about_mapping(photo)
    if isinstance(photo, (list, tuple)) and len(photo) > 3 and all(type(each) is int for each in photo[:16]):
        return "If these are the bytes of a photo, pass bytes(photo)."
    return _MANY if isinstance(photo, Iterable) else "Pass the photo itself, its path or its URL."


def _about_mapping(photo: Mapping[object, object]) -> str:
    """Names the value to pass: the first that is, or may name, a photo."""
    likely = (bytes, bytearray, memoryview, str, os.PathLike, Mapping)
    named = [key for key, value in photo.items() if isinstance(value, likely) or hasattr(value, "read")]
    named.sort(key=lambda key: _PHOTO_KEY.search(str(key)) is None)
    if not named:
        return "Pass the photo itself, its path or its URL."
    return f"Pass its value with the photo: photo[{named[0]!r}]."[:200]
