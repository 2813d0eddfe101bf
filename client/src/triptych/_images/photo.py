"""Reads a photo in any form -> its encoded bytes, unchanged if it is encoded. Must not import an image library."""

from __future__ import annotations

import inspect
import io
import os
import re
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from triptych._images.pixels import Box, PillowImage, crop_photo, encode_array, encode_image
from triptych.errors import InvalidInput

if TYPE_CHECKING:
    from PIL import Image

ImageLike: TypeAlias = (
    bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO | PillowImage | npt.NDArray[np.uint8]
)
"""One photo. Encoded: its bytes, the path of its file, its http or https URL, or a file object opened in binary mode.
Decoded: a PIL image, or an array uint8[H,W,3], RGB, 0-255 (OpenCV's BGR needs its channels reversed), or uint8[H,W].
"""

# The default limit of the server's config.pbtxt: downloads stop there, and larger pixels are compressed.
MAX_IMAGE_BYTES = 20_000_000

_EXPECTED = (
    "expected one photo: bytes (of a JPEG, PNG, WebP, GIF, BMP or TIFF), a path, a URL, a binary file object, a PIL "
    "image or an array uint8[H,W,3]"
)
_SHOWN_CHARACTERS = 80
_URL = re.compile("https?://", re.IGNORECASE)


def read_photo(photo: ImageLike, *, private_urls: bool = False, box: Box | None = None) -> bytes:
    """The encoded photo, or the part of it in `box`; see `_read`."""
    content = _read(photo, private_urls=private_urls)
    return content if box is None else crop_photo(content, box, max_bytes=MAX_IMAGE_BYTES)


def _read(photo: ImageLike, *, private_urls: bool) -> bytes:
    """The encoded photo as `bytes`: tritonclient would send any other buffer as the text of its `repr`.

    A file object is read from its current position and left open. PIL images and arrays are encoded without loss.

    Args:
        photo: see `ImageLike`.
        private_urls: whether a URL may lead to an address that is not public.

    Raises:
        InvalidInput: no `ImageLike`, no readable file, no permitted URL, or an empty photo.
        FetchFailed: the host of a URL failed; retryable.
    """
    if isinstance(photo, (bytes, bytearray, memoryview)):
        return _checked(_copied(photo), f"{type(photo).__name__} of length 0")
    if isinstance(photo, str) and _URL.match(photo):
        from triptych._images.download import fetch_photo

        content = fetch_photo(photo, private_urls=private_urls, max_bytes=MAX_IMAGE_BYTES)
        return _checked(content, "a URL that gives nothing")
    if isinstance(photo, (str, os.PathLike)):
        return _checked(_read_file(photo), f"the empty file {_shown(photo)}")
    if isinstance(photo, np.ndarray):
        return encode_array(photo, max_bytes=MAX_IMAGE_BYTES)
    if (image := _as_pillow(photo)) is not None:
        return encode_image(image, max_bytes=MAX_IMAGE_BYTES)
    if callable(getattr(photo, "read", None)) and not isinstance(photo, type):
        return _checked(_read_stream(photo), "a file object with nothing left to read; if it was read before, seek(0)")
    raise InvalidInput(f"This is no photo: got {_kind(photo)}; {_EXPECTED}. {_advice(photo)}")


def _as_pillow(photo: object) -> Image.Image | None:
    """The photo if it is a PIL image; it is none where Pillow was never imported."""
    kind = getattr(sys.modules.get("PIL.Image"), "Image", None)  # None too while another thread imports it
    return photo if kind is not None and isinstance(photo, kind) else None


def _copied(photo: bytes | bytearray | memoryview) -> bytes:
    if isinstance(photo, np.bytes_):
        raise InvalidInput(
            "This photo is a numpy.bytes_, which may have lost zeros at its end; expected bytes. "
            "Keep photos in a list, or in an array of dtype object."
        )
    try:
        if isinstance(photo, memoryview) and photo.ndim != 1:
            raise InvalidInput(
                f"This memoryview has {photo.ndim} dimensions; expected the bytes of one encoded photo. "
                "Pass pixels as an array: numpy.asarray(view)."
            )
        return bytes(photo)
    except ValueError as error:
        raise InvalidInput(f"The memoryview was released ({error}). Pass it before releasing it.") from error


def _read_file(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise InvalidInput(f"There is no file {_shown(path)}; {_EXPECTED}. {_about_missing(path)}") from error
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


def _about_missing(path: str | os.PathLike[str]) -> str:
    text = os.fspath(path)
    if not isinstance(path, str) and re.match(r"https?:[/\\]", text):
        return "Pass a URL as str: a path drops one of its slashes."
    if "://" in text:
        return "The client downloads only http:// and https:// URLs: download the photo and pass its bytes."
    return "Check the path."


def _read_stream(stream: Any) -> bytes:
    if isinstance(stream, io.TextIOBase):
        raise InvalidInput(f"The file object is in text mode; {_EXPECTED}. Open the file with mode 'rb'.")
    try:
        content = stream.read()
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"The file object cannot be read ({error}); {_EXPECTED}. Pass it open for reading."
        ) from error
    if inspect.iscoroutine(content):
        content.close()
        raise InvalidInput(f"The file object is asynchronous; {_EXPECTED}. Await its read() and pass the bytes.")
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise InvalidInput(
            f"The file object's read() gave {_kind(content)}; {_EXPECTED}. Open the file with mode 'rb'."
        )
    return bytes(content)


def _checked(content: bytes, found: str) -> bytes:
    if not content:
        raise InvalidInput(f"The photo is empty: got {found}; {_EXPECTED}. Check the source of the photo.")
    return content


def _advice(photo: object) -> str:
    """What to pass instead of a value that is no `ImageLike`."""
    if type(photo).__module__.partition(".")[0] == "torch":
        return (
            "Of a tensor float[3,H,W] from 0 to 1, pass tensor.mul(255).round().byte().permute(1, 2, 0).cpu().numpy()."
        )
    if hasattr(photo, "__array__"):
        return "Pass numpy.asarray(photo)."
    if isinstance(photo, Iterable) and not isinstance(photo, Mapping):
        return "Pass several photos to recognize_many, classify_many or embed_many."
    return "Pass the photo itself, its path or its URL."


def _kind(value: object) -> str:
    if value is None:
        return "None"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        return f"a {name} {str(dtype).removeprefix('torch.')}[{','.join(map(str, shape))}]"
    return f"a {name}"


def _shown(path: str | os.PathLike[str]) -> str:
    text = repr(os.fspath(path))
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
