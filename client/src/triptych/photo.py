"""Any way to name a photo -> its encoded bytes, unchanged. Decodes nothing; must not import an image library."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, TypeAlias

from triptych.errors import InvalidInput

ImageLike: TypeAlias = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO
"""One encoded photo: its bytes, the path of its file, or a file object opened in binary mode."""

_EXPECTED = "expected one encoded photo (a JPEG, PNG, WebP, GIF, BMP or TIFF) as bytes, a path or a binary file object"
_SHOWN_CHARACTERS = 80


def read_photo(photo: ImageLike) -> bytes:
    """The encoded photo as real `bytes`: tritonclient would send any other buffer as the text of its `repr`.

    A file object is read from where it stands and left open.

    Raises:
        InvalidInput: not an `ImageLike`, no readable file, or nothing in it.
    """
    if isinstance(photo, (bytes, bytearray, memoryview)):
        return _checked(_copied(photo), f"{type(photo).__name__} of length 0")
    if isinstance(photo, (str, os.PathLike)):
        return _checked(_read_file(photo), f"the empty file {_shown(photo)}")
    if callable(getattr(photo, "read", None)) and not isinstance(photo, type):
        return _checked(_read_stream(photo), "a file object with nothing left to read; if it was read before, seek(0)")
    raise InvalidInput(
        f"This is no photo: got {_kind(photo)}; {_EXPECTED}. "
        "Encode pixels first (to JPEG or PNG); pass several photos one call each."
    )


def _copied(photo: bytes | bytearray | memoryview) -> bytes:
    try:
        return bytes(photo)
    except ValueError as error:
        raise InvalidInput(f"The memoryview was released ({error}). Pass it before releasing it.") from error


def _read_file(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        advice = "Check the path"
        if isinstance(path, str) and "://" in path:
            advice = "A URL is not fetched: download the photo and pass its bytes"
        raise InvalidInput(f"There is no file {_shown(path)}; {_EXPECTED}. {advice}.") from error
    except IsADirectoryError as error:
        raise InvalidInput(
            f"{_shown(path)} is a directory; {_EXPECTED}. Pass the files in it one call each."
        ) from error
    except OSError as error:
        raise InvalidInput(
            f"The file {_shown(path)} cannot be read ({error.strerror or error}); {_EXPECTED}. "
            "Check the path and its permissions."
        ) from error
    except ValueError as error:
        raise InvalidInput(f"{_shown(path)} cannot be a path ({error}); {_EXPECTED}. Check the path.") from error


def _read_stream(stream: BinaryIO | io.TextIOBase) -> bytes:
    if isinstance(stream, io.TextIOBase):
        raise InvalidInput(f"The file object is in text mode; {_EXPECTED}. Open the file with mode 'rb'.")
    try:
        content = stream.read()
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"The file object cannot be read ({error}); {_EXPECTED}. Pass it open for reading."
        ) from error
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise InvalidInput(
            f"The file object's read() gave {_kind(content)}; {_EXPECTED}. Open the file with mode 'rb'."
        )
    return bytes(content)


def _checked(content: bytes, found: str) -> bytes:
    if not content:
        raise InvalidInput(f"The photo is empty: got {found}; {_EXPECTED}. Check where the photo comes from.")
    return content


def _kind(value: object) -> str:
    kind = type(value)
    return (
        "None" if value is None else f"a {kind.__name__}" if kind.__module__ == "builtins" else f"a {_full_name(kind)}"
    )


def _full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _shown(path: str | os.PathLike[str]) -> str:
    text = repr(os.fspath(path))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
