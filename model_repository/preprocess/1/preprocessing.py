"""Encoded photo -> the square of pixels a backbone was trained on. Pure functions; must not import Triton.

The geometry is that of torchvision's `Resize(resize_px) + CenterCrop(side_px)` on the upright photo, done in one step:
the crop is mapped back into the photo as stored and only that box is resampled. Half a pixel matters: mapping the crop
without the rounding that Resize and CenterCrop do costs the embedding up to 0.015 of cosine (20 photos at 300 px).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

# Pillow opens MPO, the JPEG of many phones, through JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

# A JPEG is decoded at 1/2, 1/4 or 1/8 by its DCT while the short side keeps this many times the side asked for.
# Measured, worst cosine to a full decode over 20 photos x 15 sizes: 1.14x 0.979, 1.7x 0.995, 2x 0.997.
DCT_MARGIN = 2

Box = tuple[float, float, float, float]  # left, top, right, bottom
OnDecoded = Callable[[int, int], None]

_EXIF_ORIENTATION = 0x0112


class _Turn(NamedTuple):
    """What makes a photo upright, and what its inverse does to a box: mirror along x, along y, then swap x and y."""

    transpose: Image.Transpose
    mirrors_x: bool
    mirrors_y: bool
    swaps_axes: bool


# Source: EXIF 2.32, tag 0x0112.
_TURNS = {
    2: _Turn(Image.Transpose.FLIP_LEFT_RIGHT, True, False, False),
    3: _Turn(Image.Transpose.ROTATE_180, True, True, False),
    4: _Turn(Image.Transpose.FLIP_TOP_BOTTOM, False, True, False),
    5: _Turn(Image.Transpose.TRANSPOSE, False, False, True),
    6: _Turn(Image.Transpose.ROTATE_270, True, False, True),
    7: _Turn(Image.Transpose.TRANSVERSE, True, True, True),
    8: _Turn(Image.Transpose.ROTATE_90, False, True, True),
}

# `preprocess` looks at the size before any pixel is decoded; Pillow's own limit would only warn.
Image.MAX_IMAGE_PIXELS = None


class InvalidPhoto(ValueError):
    """The photo is the caller's to fix; the message is shown to them.

    Attributes:
        reason: a word for it.
    """

    reason: str


class UnreadableImage(InvalidPhoto):
    """The bytes are not a whole photo in a known format."""

    reason = "unreadable"

    def __init__(self, found: str) -> None:
        super().__init__(
            f"unreadable image: {found}; expected a whole JPEG, PNG, WebP, GIF, BMP or TIFF file. "
            "Send the file's bytes unchanged."
        )


class ImageTooLarge(InvalidPhoto):
    """The photo is over a limit on bytes or on pixels."""

    reason = "too_large"

    def __init__(self, found: str, limit: str) -> None:
        super().__init__(f"image too large: {found}, the limit is {limit}. Send a smaller copy of the photo.")


@dataclass(frozen=True)
class Transform:
    """How the backbone was trained to see: resize the short side to `side_px / crop_ratio`, crop `side_px` squared."""

    side_px: int
    crop_ratio: float
    interpolation: str

    @property
    def resize_px(self) -> int:
        return round(self.side_px / self.crop_ratio)

    @property
    def resampling(self) -> Image.Resampling:
        return Image.Resampling[self.interpolation.upper()]


@dataclass(frozen=True)
class Limits:
    """What is refused before a pixel is decoded."""

    max_image_bytes: int
    max_image_pixels: int


class Header(NamedTuple):
    """What a photo says about itself before any pixel is decoded.

    Attributes:
        transpose: what makes it upright; None where it is.
    """

    image_format: str
    mode: str
    transpose: Image.Transpose | None


def read_header(photo: bytes, limits: Limits) -> Header:
    """For a decoder other than this one.

    Raises:
        UnreadableImage: not one of `FORMATS`, or the header is damaged.
        ImageTooLarge: over `limits`.
    """
    image = _open(photo, limits)
    try:
        turn = _turn_of(image)
    except Exception as error:  # decoders raise what they like; whatever it is, this photo is at fault
        raise UnreadableImage(f"the {image.format} file is damaged ({error})") from error
    return Header(image.format or "", image.mode, turn.transpose if turn else None)


def _ignore(size_bytes: int, size_pixels: int) -> None:
    """What happens to a photo's size when nobody asked for it."""


def preprocess_all(
    photos: Sequence[bytes], transform: Transform, limits: Limits, on_decoded: OnDecoded = _ignore
) -> npt.NDArray[np.uint8]:
    """The photos of one request as `uint8[N,S,S,3]`, RGB, 0-255, upright.

    `on_decoded` is told of each photo how many bytes it had, and how many pixels.

    Raises:
        InvalidPhoto: as `preprocess`, saying which photo when there are several.
    """
    pixels = np.empty((len(photos), transform.side_px, transform.side_px, 3), dtype=np.uint8)
    for index, photo in enumerate(photos):
        try:
            pixels[index] = preprocess(photo, transform, limits, on_decoded)
        except InvalidPhoto as refusal:
            if len(photos) > 1:
                refusal.args = (f"{refusal} (photo {index + 1} of {len(photos)} in this request)",)
            raise
    return pixels


def preprocess(
    photo: bytes, transform: Transform, limits: Limits, on_decoded: OnDecoded = _ignore
) -> npt.NDArray[np.uint8]:
    """Returns `uint8[S,S,3]`, RGB, 0-255, upright; for `on_decoded` see `preprocess_all`.

    Raises:
        UnreadableImage: not a whole photo in one of `FORMATS`.
        ImageTooLarge: over `limits`.
    """
    image = _open(photo, limits)
    width_px, height_px = image.size
    try:
        turn = _turn_of(image)
        box = _stored_crop_box(image.size, turn, transform)
        divisor = _shrink_by_dct(image, DCT_MARGIN * transform.side_px)
        rgb = _to_rgb(image)
        right, bottom = rgb.size
        left, top = box[0] / divisor, box[1] / divisor
        box = left, top, min(box[2] / divisor, right), min(box[3] / divisor, bottom)
        square = rgb.resize((transform.side_px, transform.side_px), transform.resampling, box=box)
    except InvalidPhoto:
        raise
    except Exception as error:  # decoders raise what they like; whatever it is, this photo is at fault
        raise UnreadableImage(f"the {image.format} file is damaged or cut short ({error})") from error
    on_decoded(len(photo), width_px * height_px)
    return np.asarray(square.transpose(turn.transpose) if turn else square)


def _open(photo: bytes, limits: Limits) -> Image.Image:
    if not photo:
        raise UnreadableImage("got 0 bytes")
    if len(photo) > limits.max_image_bytes:
        raise ImageTooLarge(f"{len(photo) / 1e6:.1f} MB", f"{limits.max_image_bytes / 1e6:g} MB")
    try:
        image = Image.open(io.BytesIO(photo), formats=FORMATS)
    except Exception as error:
        raise UnreadableImage(f"got {len(photo)} bytes that start with {photo[:8]!r}") from error
    width_px, height_px = image.size
    if width_px * height_px > limits.max_image_pixels:
        raise ImageTooLarge(
            f"{width_px} x {height_px} = {width_px * height_px / 1e6:.1f} megapixels",
            f"{limits.max_image_pixels / 1e6:g} megapixels",
        )
    return image


def _turn_of(image: Image.Image) -> _Turn | None:
    """What is left to do to a decoded photo: Pillow turns a TIFF as it loads it, and states its size so."""
    return None if image.format == "TIFF" else _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))


def _shrink_by_dct(image: Image.Image, min_short_side_px: int) -> int:
    """Asks the JPEG decoder for a smaller picture; returns the divisor it will use (1 for other formats)."""
    divisor = 1
    while divisor < 8 and min(image.size) // (divisor * 2) >= min_short_side_px:
        divisor *= 2
    if divisor == 1:
        return 1
    width_px, height_px = image.size
    drafted = image.draft(None, (width_px // divisor, height_px // divisor))
    return divisor if drafted else 1


def _stored_crop_box(size: tuple[int, int], turn: _Turn | None, transform: Transform) -> Box:
    """The region, in pixels of the photo as stored, that becomes the upright crop."""
    if turn is None:
        return _crop_box(*size, transform)
    width_px, height_px = reversed(size) if turn.swaps_axes else size
    left, top, right, bottom = _crop_box(width_px, height_px, transform)
    if turn.mirrors_x:
        left, right = width_px - right, width_px - left
    if turn.mirrors_y:
        top, bottom = height_px - bottom, height_px - top
    return (top, left, bottom, right) if turn.swaps_axes else (left, top, right, bottom)


def _crop_box(width_px: int, height_px: int, transform: Transform) -> Box:
    """The region of an upright photo that Resize + CenterCrop keep, with their rounding."""
    resize_px, side_px = transform.resize_px, transform.side_px
    if width_px <= height_px:
        resized_width_px, resized_height_px = resize_px, int(resize_px * height_px / width_px)
    else:
        resized_width_px, resized_height_px = int(resize_px * width_px / height_px), resize_px
    left, top = round((resized_width_px - side_px) / 2), round((resized_height_px - side_px) / 2)
    per_x, per_y = width_px / resized_width_px, height_px / resized_height_px
    return left * per_x, top * per_y, (left + side_px) * per_x, (top + side_px) * per_y


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any colour mode to RGB: transparency over white, 16-bit grey by its high byte."""
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnreadableImage(f"got a {image.format} with 32 bits a sample, which has no defined white")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
