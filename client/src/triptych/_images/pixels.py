"""Pixels -> an encoded photo that the server decodes to the same pixels. Imports Pillow on first use, never before.

Uncompressed TIFF up to the server's limit on bytes, PNG above it. Measured on 2 cores with Pillow 13, per photo of
512 x 512: TIFF 786 kB, 0.3 ms to write and 2.2 ms in the server's preprocessing; PNG 446 kB, 19 and 9 ms; lossless
WebP 318 kB, 15 and 10 ms. To compress pays below some 200 Mbit/s only, and costs the server four times the work.
Of noisy photos of 12 megapixels PNG and lossless WebP are alike large.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from triptych._images.encoded_text import format_of
from triptych.errors import InvalidInput, UnreadableImage

if TYPE_CHECKING:
    from PIL import Image

_EXPECTED = "expected uint8[H,W,3], RGB, 0-255, or grey uint8[H,W]"
_EXIF_ORIENTATION = 0x0112
# Most pixels of a HEIC photo, which Pillow's own limit does not cover; the server accepts 50 megapixels.
_MAX_HEIC_PIXELS = 100_000_000
_FORMATS = "JPEG, PNG, WebP, GIF, BMP, TIFF, AVIF or HEIC"


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

    Colours are converted as on the server: to RGB or grey, with an alpha channel if there is one. An ICC profile
    travels with the photo, and the server converts it to sRGB; a CMYK photo is converted here.

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
        shown = _as_shown(image)
    except Exception as error:  # decoders raise any exception; the photo is at fault
        raise UnreadableImage(
            f"The PIL image cannot be read ({error}). Pass it while its file is open and complete, or pass the "
            "file's path."
        ) from error
    return _encode(shown.pixels, max_bytes, shown.profile)


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
    check_box(box)
    try:
        with open_photo(content, "cropping") as image:
            shown = _as_shown(image)
    except UnreadableImage:
        raise
    except Exception as error:  # decoders raise any exception
        raise UnreadableImage(
            f"unreadable image: it cannot be cropped ({error}). Send a complete {_FORMATS} file."
        ) from error
    left, top, right, bottom = box
    height, width = shown.pixels.shape[:2]
    if left >= width or top >= height:
        raise InvalidInput(
            f"box is {box!r}, outside the photo of {width} x {height} pixels. "
            "Pass (left, top, right, bottom) within it."
        )
    return _encode(np.ascontiguousarray(shown.pixels[top:bottom, left:right]), max_bytes, shown.profile)


@contextlib.contextmanager
def open_photo(content: bytes, purpose: str) -> Iterator[Image.Image]:
    """The PIL image of an encoded photo; of HEIC too, where the extra `heif` is installed.

    Args:
        content: the encoded photo.
        purpose: why it is decoded here and not by the server, for the error message: "cropping".

    Raises:
        UnreadableImage: a HEIC photo without the extra, or one of more than 100 megapixels.
        Exception: whatever a decoder raises.
    """
    if format_of(content[:16]) == "HEIC":
        yield _heic_image(content, purpose)
        return
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        yield image


def _heic_image(content: bytes, purpose: str) -> Image.Image:
    try:
        import pillow_heif
    except ModuleNotFoundError as error:
        raise UnreadableImage(
            f"unreadable image: for a HEIC photo, {purpose} needs pillow-heif, which is not installed. "
            "Run pip install 'triptych-client[heif]'. Calls with the whole photo need nothing: the server reads HEIC."
        ) from error
    # Not through Pillow's registry, which belongs to the whole process.
    photo = pillow_heif.open_heif(io.BytesIO(content))
    width, height = photo.size
    if width * height > _MAX_HEIC_PIXELS:
        raise UnreadableImage(
            f"unreadable image: the HEIC photo has {width} x {height} pixels, over {_MAX_HEIC_PIXELS / 1e6:g} "
            "megapixels, the limit. Send a smaller copy of the photo."
        )
    image: Image.Image = photo.to_pillow()
    return image


def grey_of_16_bits(image: Image.Image) -> npt.NDArray[np.uint8]:
    """uint8[H,W] of an image of mode I;16, whose values Pillow would clip at 255."""
    return (np.asarray(image) >> 8).astype(np.uint8)


@dataclass(frozen=True)
class _Shown:
    """What a viewer shows: uint8[H,W], uint8[H,W,3] or, with transparency, uint8[H,W,4]; upright.

    Attributes:
        profile: the ICC profile of these pixels; None for sRGB.
    """

    pixels: npt.NDArray[np.uint8]
    profile: bytes | None


def _as_shown(image: Image.Image) -> _Shown:
    image.load()
    profile = image.info.get("icc_profile")
    image = _upright(image)
    if image.mode.startswith("I;16"):
        pixels = _with_transparent_grey(image)
    elif image.mode == "CMYK" and profile:
        pixels, profile = np.asarray(_cmyk_in_srgb(image, profile)), None
    elif image.has_transparency_data:
        # Pillow converts premultiplied grey only to LA.
        pixels = np.asarray((image.convert("LA") if image.mode == "La" else image).convert("RGBA"))
    else:
        pixels = np.asarray(image if image.mode == "L" else image.convert("RGB"))
    return _Shown(pixels, profile if _describes(profile, pixels) else None)


def _upright(image: Image.Image) -> Image.Image:
    from PIL import Image

    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception:  # damaged metadata costs the photo nothing
        return image
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    if turn is None:
        return image
    turned = image.transpose(turn)
    turned.info = image.info
    return turned


def _with_transparent_grey(image: Image.Image) -> npt.NDArray[np.uint8]:
    grey = grey_of_16_bits(image)
    transparent = image.info.get("transparency")
    if not isinstance(transparent, int):
        return grey
    alpha = np.where(np.asarray(image) == transparent, 0, 255).astype(np.uint8)
    return np.dstack([grey, grey, grey, alpha])


def _cmyk_in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """RGB by the photo's own profile: no RGB pixels could carry it. By Pillow's formula where it is damaged."""
    from PIL import ImageCms

    try:
        inks = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, inks, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image.convert("RGB")
    return converted or image.convert("RGB")


def _describes(profile: object, pixels: npt.NDArray[np.uint8]) -> bool:
    """Whether an ICC profile is of the colour space of these pixels; bytes 16 to 19 of its header name its own."""
    space = b"GRAY" if pixels.ndim == 2 else b"RGB "
    return isinstance(profile, bytes) and profile[16:20] == space


def _encode(pixels: npt.NDArray[np.uint8], max_bytes: int, profile: bytes | None = None) -> bytes:
    from PIL import Image

    image = Image.fromarray(pixels)
    content = io.BytesIO()
    # The header of a TIFF is smaller than 1 kB.
    if pixels.nbytes + len(profile or b"") + 1000 <= max_bytes:
        image.save(content, "TIFF", compression="raw", icc_profile=profile)
    else:
        image.save(content, "PNG", compress_level=1, icc_profile=profile)
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
