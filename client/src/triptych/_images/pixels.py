"""Pixels -> an encoded photo that the server decodes to the same pixels. Imports Pillow on first use, never before.

Uncompressed TIFF up to the server's limit on bytes, PNG above it. Measured on 2 cores with Pillow 13, per photo of
512 x 512: TIFF 786 kB, 0.3 ms to write and 2.2 ms in the server's preprocessing; PNG 446 kB, 19 and 9 ms; lossless
WebP 318 kB, 15 and 10 ms. To compress pays below some 200 Mbit/s only, and costs the server four times the work.
Of noisy photos of 12 megapixels PNG and lossless WebP are alike large.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from triptych.errors import InvalidInput, UnreadableImage

if TYPE_CHECKING:
    from PIL import Image

_EXPECTED = "expected uint8[H,W,3], RGB, 0-255, or grey uint8[H,W]"
_EXIF_ORIENTATION = 0x0112


Box: TypeAlias = tuple[int, int, int, int]
"""A part of a photo: left, top, right, bottom in pixels of the upright photo; right and bottom are outside."""


class PillowImage(Protocol):
    """What `PIL.Image.Image` looks like to a type checker, so that importing this package imports no Pillow."""

    @property
    def mode(self) -> str: ...

    @property
    def info(self) -> dict[Any, Any]: ...

    def getexif(self) -> Any: ...


def encode_array(pixels: npt.NDArray[Any], *, max_bytes: int) -> bytes:
    """Encodes an array as a photo without loss.

    Args:
        pixels: uint8[H,W,3], RGB, 0-255, or grey uint8[H,W].
        max_bytes: a larger photo is compressed without loss.

    Raises:
        InvalidInput: another shape or dtype.
    """
    advice = _what_is_wrong(pixels)
    if advice:
        got = f"{pixels.dtype}[{','.join(map(str, pixels.shape))}]"
        raise InvalidInput(f"This array is no photo: got {got}; {_EXPECTED}. {advice}")
    return _encode(pixels, max_bytes)


def encode_image(image: Image.Image, *, max_bytes: int) -> bytes:
    """Encodes a PIL image as an upright photo; `Image.open` does not apply the EXIF orientation.

    Colours are converted as on the server: to RGB or grey, with an alpha channel if there is one.

    Args:
        image: in any mode except those of 32 bits per sample, which have no defined white.
        max_bytes: a larger photo is compressed without loss.

    Raises:
        InvalidInput: no pixels, or 32 bits per sample.
        UnreadableImage: the file of the image is closed, damaged or truncated.
    """
    if 0 in image.size:
        raise InvalidInput(f"The PIL image has no pixels: got {image.width} x {image.height}. Check how it was made.")
    if image.mode in ("I", "F"):
        raise InvalidInput(
            f"The PIL image has mode {image.mode!r}, 32 bits per sample, which has no defined white; expected 'RGB', "
            "'L' or another of 8 bits. Scale its values to 0-255 and convert it to 'L'."
        )
    try:
        pixels = _shown_pixels(image)
    except Exception as error:  # decoders raise any exception; the photo is at fault
        raise UnreadableImage(
            f"The PIL image cannot be read ({error}). Pass it while its file is open and complete, or pass the "
            "file's path."
        ) from error
    return _encode(pixels, max_bytes)


def check_box(box: Box | None) -> None:
    """Raises `InvalidInput` unless `box` is None or four whole numbers around some pixels."""
    if box is None:
        return
    is_four = isinstance(box, (tuple, list)) and len(box) == 4
    if not is_four or any(isinstance(edge, bool) or not isinstance(edge, int) for edge in box):
        raise InvalidInput(
            f"box is {box!r}; expected four whole numbers of pixels: (left, top, right, bottom), (40, 20, 300, 280) "
            "for example."
        )
    left, top, right, bottom = box
    if left < 0 or top < 0 or right <= left or bottom <= top:
        raise InvalidInput(
            f"box is {box!r}, which contains no pixel; expected (left, top, right, bottom) with 0 <= left < right and "
            "0 <= top < bottom."
        )


def crop_photo(content: bytes, box: Box, *, max_bytes: int) -> bytes:
    """Crops an encoded photo, without loss.

    Args:
        content: the encoded photo.
        box: in the upright photo; parts outside of the photo are cut off.
        max_bytes: a larger part is compressed without loss.

    Raises:
        InvalidInput: the box lies outside the photo.
        UnreadableImage: the photo cannot be decoded here.
    """
    from PIL import Image

    check_box(box)
    try:
        with Image.open(io.BytesIO(content)) as image:
            pixels = _shown_pixels(image)
    except Exception as error:  # decoders raise any exception
        raise UnreadableImage(
            f"unreadable image: it cannot be cropped ({error}). Send a complete JPEG, PNG, WebP, GIF, BMP or TIFF file."
        ) from error
    left, top, right, bottom = box
    height, width = pixels.shape[:2]
    if left >= width or top >= height:
        raise InvalidInput(
            f"box is {box!r}, outside the photo of {width} x {height} pixels. "
            "Pass (left, top, right, bottom) within it."
        )
    return _encode(np.ascontiguousarray(pixels[top:bottom, left:right]), max_bytes)


def _shown_pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """uint8[H,W], uint8[H,W,3] or, with transparency, uint8[H,W,4]; upright."""
    from PIL import Image, ImageOps

    image.load()
    if image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.has_transparency_data:
        # Pillow converts premultiplied grey only to LA.
        image = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    elif image.mode != "L":
        image = image.convert("RGB")
    return np.asarray(image)


def _encode(pixels: npt.NDArray[np.uint8], max_bytes: int) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    content = io.BytesIO()
    # The header of a TIFF is smaller than 1 kB.
    if pixels.nbytes + 1000 <= max_bytes:
        image.save(content, "TIFF", compression="raw")
    else:
        image.save(content, "PNG", compress_level=1)
    return content.getvalue()


def _what_is_wrong(pixels: npt.NDArray[Any]) -> str | None:
    """Advice for an array that is no photo; None for a photo."""
    shape, dtype = pixels.shape, pixels.dtype
    if dtype.kind in "SUOV":
        return "Pass the bytes of one encoded photo as bytes; an array of them may lose zeros at their end."
    if pixels.size == 0:
        return "It has no pixels; check how it was cut."
    if pixels.ndim == 4:
        return "Pass one photo per call, or a list of photos to recognize_many, classify_many or embed_many."
    if pixels.ndim < 2 or (pixels.ndim == 2 and 1 in shape):
        return "If it has the bytes of an encoded photo, pass its tobytes()."
    if pixels.ndim == 3 and shape[2] != 3:
        return _about_channels(shape)
    if pixels.ndim > 3:
        return "Pass one photo."
    if dtype == np.uint8:
        return None
    if dtype.kind == "f":
        return "Where 0 to 1 means black to white, pass (pixels * 255).round().astype('uint8')."
    if dtype.kind == "b":
        return "Pass pixels.astype('uint8') * 255."
    return "Scale its values to 0-255 and pass pixels.astype('uint8')."


def _about_channels(shape: tuple[int, ...]) -> str:
    if shape[2] == 1:
        return "Pass pixels[:, :, 0]."
    if shape[2] == 4:
        return "Pass PIL.Image.fromarray(pixels) if the fourth channel is alpha, or pixels[:, :, :3] to drop it."
    if shape[0] in (1, 3, 4):
        return "Its first axis looks like the channels: pass pixels.transpose(1, 2, 0)."
    return "Pass three channels."
