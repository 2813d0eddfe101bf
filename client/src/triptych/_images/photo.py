"""Reads a photo in any form -> its encoded bytes, unchanged if it is encoded. Must not import an image library."""

from __future__ import annotations

import inspect
import io
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
import numpy.typing as npt

from triptych._images.encoded_text import DATA_URL, photo_from_data_url
from triptych._images.encoded_text import MAX_IMAGE_BYTES as MAX_IMAGE_BYTES
from triptych._images.pixels import Box, PillowImage, crop_photo, encode_array, encode_image
from triptych._images.refusals import EXPECTED, URL, kind_of, local_path, refuse_bytes, refuse_path, refuse_value, shown
from triptych.errors import InvalidInput

if TYPE_CHECKING:
    from PIL import Image

ImageLike: TypeAlias = (
    bytes
    | bytearray
    | memoryview
    | str
    | os.PathLike[str]
    | BinaryIO
    | PillowImage
    | npt.NDArray[np.uint8]
    | Mapping[str, Any]
)
"""One photo. Encoded: its bytes, the path of its file, its http, https, `data:` or `file:` URL, or a file object opened
in binary mode. Decoded: a PIL image, or an array uint8[H,W,3], RGB, 0-255 (OpenCV's BGR needs its channels reversed),
or uint8[H,W]. A cell of an image column of Hugging Face, {"bytes": ..., "path": ...}, stands for its bytes, otherwise
for its path. Base64 text is read by `photo_from_base64`.
"""


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
        UnreadableImage: bytes that are a text: base64, a path, a URL; a URL of a web page.
        FetchFailed: the host of a URL failed; retryable.
    """
    if isinstance(photo, (bytes, bytearray, memoryview)):
        return _checked(_copied(photo), f"{type(photo).__name__} of length 0")
    if isinstance(photo, str) and (content := _of_url(photo.strip(), private_urls)) is not None:
        return content
    if isinstance(photo, (str, os.PathLike)):
        return _nonempty(_read_file(photo), f"the empty file {shown(photo)}")
    if isinstance(photo, np.ndarray):
        return encode_array(photo, max_bytes=MAX_IMAGE_BYTES)
    if (image := _as_pillow(photo)) is not None:
        return encode_image(image, max_bytes=MAX_IMAGE_BYTES)
    if isinstance(photo, Mapping) and photo and photo.keys() <= {"bytes", "path"}:
        cell: Any = next((photo[key] for key in ("bytes", "path") if photo.get(key) is not None), None)
        return _read(cell, private_urls=private_urls)
    is_response = hasattr(photo, "status_code")  # read() of httpx's gives the page of an error too
    if callable(getattr(photo, "read", None)) and not isinstance(photo, type) and not is_response:
        return _checked(_read_stream(photo), "a file object with nothing left to read; if it was read before, seek(0)")
    raise refuse_value(photo)


def _of_url(url: str, private_urls: bool) -> bytes | None:
    """The content of a URL, None for a text that is no URL."""
    if URL.match(url):
        from triptych._images.download import fetch_photo, shown_url

        content = fetch_photo(url, private_urls=private_urls, max_bytes=MAX_IMAGE_BYTES)
        return _nonempty(content, f"a URL that gives nothing ({shown_url(url)})")
    if DATA_URL.match(url):
        return photo_from_data_url(url)
    if url[:7].lower() == "file://":
        return _nonempty(_read_file(local_path(url)), f"the empty file {shown(url)}")
    return None


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
    except (OSError, ValueError) as error:
        raise refuse_path(path, error) from error


def _read_stream(stream: Any) -> bytes:
    if isinstance(stream, io.TextIOBase):
        raise InvalidInput(f"The file object is in text mode; {EXPECTED}. Open the file with mode 'rb'.")
    try:
        content = stream.read()
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"The file object cannot be read ({error}); {EXPECTED}. Pass it open for reading."
        ) from error
    if inspect.iscoroutine(content):
        content.close()
        raise InvalidInput(f"The file object is asynchronous; {EXPECTED}. Await its read() and pass the bytes.")
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise InvalidInput(
            f"The file object's read() gave {kind_of(content)}; {EXPECTED}. Open the file with mode 'rb'."
        )
    return bytes(content)


def _checked(content: bytes, found: str) -> bytes:
    """The bytes of a caller, which may be the text of a photo instead of the photo."""
    refusal = refuse_bytes(_nonempty(content, found))
    if refusal is not None:
        raise refusal
    return content


def _nonempty(content: bytes, found: str) -> bytes:
    if not content:
        raise InvalidInput(f"The photo is empty: got {found}; {EXPECTED}. Check the source of the photo.")
    return content
