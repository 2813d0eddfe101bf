"""Preprocessing: encoded photo -> the square of pixels that a backbone takes. Pure functions; does not import Triton.

The geometry is that of torchvision's `Resize(resize_px) + CenterCrop(side_px)` on the upright photo, in one step: the
crop is mapped back to the stored photo and only that box is resampled. The mapping includes the rounding of Resize and
CenterCrop: without it the cosine of the embedding falls by up to 0.015 (20 photos at 300 px).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from triptych_models.errors import InvalidPhoto, UnreadableImage
from triptych_models.recognition.photos.colour import Conversion, conversion_of, flatten, to_srgb
from triptych_models.recognition.photos.geometry import square_of, stored_crop_box
from triptych_models.recognition.photos.metadata import without_metadata
from triptych_models.recognition.photos.opening import Limits, OpenedPhoto, open_photo
from triptych_models.recognition.transform import Transform

__all__ = ["DCT_MARGIN", "Header", "Limits", "preprocess", "preprocess_all", "read_header"]

# A JPEG is decoded at 1/2, 1/4 or 1/8 by its DCT while the short side is at least this many times the target side.
# Lowest cosine to a full decode, over 20 photos x 15 sizes: 1.14x 0.979, 1.7x 0.995, 2x 0.997.
DCT_MARGIN = 2

OnDecoded = Callable[[int, int], None]


class Header(NamedTuple):
    """The header of a photo, read before a pixel is decoded.

    Attributes:
        image_format: Pillow's name of the format.
        mode: Pillow's name of the colour mode.
        transpose: the operation that turns the photo upright; None where it is upright.
        conversion: the conversion to sRGB; None where the photo is in sRGB.
    """

    image_format: str
    mode: str
    transpose: Image.Transpose | None
    conversion: Conversion | None


def read_header(photo: bytes, limits: Limits) -> Header:
    """The header of a photo, for another decoder.

    Raises:
        UnreadableImage: the photo is not in a format that is read, or its header is damaged.
        ImageTooLarge: over `limits`.
    """
    opened = open_photo(photo, limits)
    image, turn = opened.image, opened.turn
    conversion = conversion_of(image, photo, opened.still)
    return Header(image.format or "", image.mode, turn.transpose if turn else None, conversion)


def _ignore(size_bytes: int, size_pixels: int) -> None:
    """The default of `on_decoded`."""


def preprocess_all(
    photos: Sequence[bytes], transform: Transform, limits: Limits, on_decoded: OnDecoded = _ignore
) -> npt.NDArray[np.uint8]:
    """The photos of one request as `uint8[N,S,S,3]`, sRGB, 0-255, upright.

    `on_decoded` is called with the size of each photo in bytes and in pixels.

    Raises:
        InvalidPhoto: see `preprocess`; with the photo's position where there are several.
    """
    pixels = np.empty((len(photos), transform.side_px, transform.side_px, 3), dtype=np.uint8)
    for index, photo in enumerate(photos):
        try:
            pixels[index] = preprocess(photo, transform, limits, on_decoded)
        except InvalidPhoto as refusal:
            refusal.add_position(index, len(photos))
            raise
    return pixels


def preprocess(
    photo: bytes, transform: Transform, limits: Limits, on_decoded: OnDecoded = _ignore
) -> npt.NDArray[np.uint8]:
    """Returns `uint8[S,S,3]`, sRGB, 0-255, upright; for `on_decoded` see `preprocess_all`.

    Raises:
        UnreadableImage: the photo is not complete, or not in a format that is read.
        ImageTooLarge: over `limits`.
    """
    try:
        pixels, area_px = _decode(photo, transform, limits)
    except UnreadableImage as refusal:
        rest = without_metadata(photo)
        if rest is None:
            raise
        try:
            pixels, area_px = _decode(rest, transform, limits)
        except InvalidPhoto:  # the fault is not in the metadata
            raise refusal from refusal.__cause__
    on_decoded(len(photo), area_px)
    return pixels


def _decode(photo: bytes, transform: Transform, limits: Limits) -> tuple[npt.NDArray[np.uint8], int]:
    """The square, and the pixels that the photo has."""
    opened = open_photo(photo, limits)
    area_px = opened.image.width * opened.image.height
    try:
        square = _square(opened, photo, transform)
    except InvalidPhoto:
        raise
    except Exception as error:  # decoders raise errors of any class; the photo is the cause
        raise UnreadableImage(f"the {opened.format_name} file is damaged or cut short") from error
    return np.asarray(square), area_px


def _square(opened: OpenedPhoto, photo: bytes, transform: Transform) -> Image.Image:
    image, turn = opened.image, opened.turn
    box = stored_crop_box(image.size, turn, transform)
    divisor = _shrink_by_dct(image, DCT_MARGIN * transform.side_px)
    right, bottom = image.size
    left, top = box[0] / divisor, box[1] / divisor
    box = left, top, min(box[2] / divisor, right), min(box[3] / divisor, bottom)
    image.load()
    conversion = conversion_of(image, photo, opened.still)
    keeps_cmyk = conversion is not None and conversion.mode == "CMYK"
    square = to_srgb(square_of(image, box, transform, partial(flatten, keeps_cmyk=keeps_cmyk)), conversion)
    return square.transpose(turn.transpose) if turn else square


def _shrink_by_dct(image: Image.Image, min_short_side_px: int) -> int:
    """Sets a smaller decode size for a JPEG; returns the divisor of the size (1 for other formats)."""
    divisor = 1
    while divisor < 8 and min(image.size) // (divisor * 2) >= min_short_side_px:
        divisor *= 2
    if divisor == 1 or image.format not in ("JPEG", "MPO"):
        return 1
    width_px, height_px = image.size
    drafted = image.draft(None, (width_px // divisor, height_px // divisor))
    return divisor if drafted else 1
