"""Preprocessing: encoded photo -> the square of pixels that a backbone takes. Pure functions; does not import Triton.

The geometry is that of torchvision's `Resize(resize_px) + CenterCrop(side_px)` on the upright photo, in one step: the
crop is mapped back to the stored photo and only that box is resampled. The mapping includes the rounding of Resize and
CenterCrop: without it the cosine of the embedding falls by up to 0.015 (20 photos at 300 px).
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from triptych_models.errors import ImageTooLarge, InvalidPhoto, UnreadableImage
from triptych_models.recognition.transform import Transform

# Pillow opens MPO, the JPEG variant of many phones, as JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")

# A JPEG is decoded at 1/2, 1/4 or 1/8 by its DCT while the short side is at least this many times the target side.
# Lowest cosine to a full decode, over 20 photos x 15 sizes: 1.14x 0.979, 1.7x 0.995, 2x 0.997.
DCT_MARGIN = 2

Box = tuple[float, float, float, float]  # left, top, right, bottom
OnDecoded = Callable[[int, int], None]

_EXIF_ORIENTATION = 0x0112


class _Turn(NamedTuple):
    """The operation that turns a photo upright; its inverse on a box mirrors along x and y, then swaps x and y."""

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

# `preprocess` checks the size before it decodes a pixel; Pillow's own limit would only warn.
Image.MAX_IMAGE_PIXELS = None

# Pillow warns about each damaged tag with a different text: 2,000 log lines for one photo, all of them remembered.
warnings.filterwarnings("ignore", module=r"PIL\.")

# The process may grow by 256 MB for a photo; 40 MB of them are for the processing of the decoded photo.
MAX_DECODED_BYTES = 216_000_000

# Cameras and encoders write 1 to 12 scans. Each scan of 60 bytes may cost a pass over the whole photo: 2,000 scans of
# 49 megapixels took 5 s. Source: libtiff's limit for a JPEG inside a TIFF.
MAX_SCANS = 100

# Pillow decodes a run-length encoded BMP in Python code, 0.1 s a MB.
MAX_RUN_LENGTH_BYTES = 4_000_000

# WebP: two canvases of four bytes a pixel, a copy as bytes, the photo: 15.7 bytes measured with Pillow 13.
_WEBP_BYTES_PER_PX = 16
_BYTES_PER_PX = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}
_JPEGS = ("JPEG", "MPO")

# A larger photo is converted to RGB and resized band by band, so that no second full-size copy exists.
_WHOLE_PX = 4_000_000
_BAND_PX = 1_000_000
# The least rows of the square in a band: each band is resampled from some rows beyond it.
_BAND_ROWS = 6
# The widest filter, Lanczos, reads 3 rows of the smaller photo on each side.
_FILTER_REACH = 3


@dataclass(frozen=True)
class Limits:
    """Limits that are checked before a pixel is decoded."""

    max_image_bytes: int
    max_image_pixels: int

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Limits:
        """The limits in the parameters of a model's config."""
        return cls(int(parameters["max_image_bytes"]), int(parameters["max_image_pixels"]))


class Header(NamedTuple):
    """The header of a photo, read before a pixel is decoded.

    Attributes:
        image_format: Pillow's name of the format.
        mode: Pillow's name of the colour mode.
        transpose: the operation that turns the photo upright; None where it is upright.
    """

    image_format: str
    mode: str
    transpose: Image.Transpose | None


def read_header(photo: bytes, limits: Limits) -> Header:
    """The header of a photo, for another decoder.

    Raises:
        UnreadableImage: the photo is not in one of `FORMATS`, or its header is damaged.
        ImageTooLarge: over `limits`.
    """
    image = _open(photo, limits)
    try:
        turn = _turn_of(image)
    except Exception as error:  # decoders raise errors of any class; the photo is the cause
        raise UnreadableImage(f"the {image.format} file is damaged") from error
    return Header(image.format or "", image.mode, turn.transpose if turn else None)


def _ignore(size_bytes: int, size_pixels: int) -> None:
    """The default of `on_decoded`."""


def preprocess_all(
    photos: Sequence[bytes], transform: Transform, limits: Limits, on_decoded: OnDecoded = _ignore
) -> npt.NDArray[np.uint8]:
    """The photos of one request as `uint8[N,S,S,3]`, RGB, 0-255, upright.

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
    """Returns `uint8[S,S,3]`, RGB, 0-255, upright; for `on_decoded` see `preprocess_all`.

    Raises:
        UnreadableImage: the photo is not complete, or not in one of `FORMATS`.
        ImageTooLarge: over `limits`.
    """
    image = _open(photo, limits)
    width_px, height_px = image.size
    try:
        turn = _turn_of(image)
        box = _stored_crop_box(image.size, turn, transform)
        divisor = _shrink_by_dct(image, DCT_MARGIN * transform.side_px)
        right, bottom = image.size
        left, top = box[0] / divisor, box[1] / divisor
        box = left, top, min(box[2] / divisor, right), min(box[3] / divisor, bottom)
        square = _square(image, box, transform)
    except InvalidPhoto:
        raise
    except Exception as error:  # decoders raise errors of any class; the photo is the cause
        raise UnreadableImage(f"the {image.format} file is damaged or cut short") from error
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
    try:
        _check_cost(image, photo)
    except InvalidPhoto:
        raise
    except Exception as error:  # tags that are not numbers
        raise UnreadableImage(f"the {image.format} file is damaged") from error
    return image


def _check_cost(image: Image.Image, photo: bytes) -> None:
    """Refuses a photo that would take too much memory or time; both are estimated from the header."""
    size = f"a {image.format} of {image.width} x {image.height}"
    scans = _count_scans(photo) if image.format in _JPEGS else 0
    needed_bytes = _decoded_bytes(image, scans)
    if needed_bytes > MAX_DECODED_BYTES:
        found = f"{size} that takes {needed_bytes / 1e6:.0f} MB of memory to decode"
        raise ImageTooLarge(found, f"{MAX_DECODED_BYTES / 1e6:g} MB")
    if scans > MAX_SCANS:
        raise ImageTooLarge(f"{size} in {scans} scans", f"{MAX_SCANS} scans")
    is_run_length_encoded = any(tile[0] == "bmp_rle" for tile in _tiles(image))
    if is_run_length_encoded and len(photo) > MAX_RUN_LENGTH_BYTES:
        found = f"{size}, run-length encoded in {len(photo) / 1e6:.1f} MB"
        raise ImageTooLarge(found, f"{MAX_RUN_LENGTH_BYTES / 1e6:g} MB")


def _count_scans(photo: bytes) -> int:
    """Scans of a JPEG, including those of its thumbnail; the marker cannot occur in compressed data."""
    return photo.count(b"\xff\xda")


def _decoded_bytes(image: Image.Image, scans: int) -> int:
    """The peak memory of decoding the whole photo, before any conversion."""
    area_px = image.width * image.height
    if image.format in _JPEGS:
        # Decoded line by line, often at a reduced size; several scans need all coefficients in memory.
        return int(2 * _samples_per_px(image) * area_px) if scans > 1 else 0
    if image.format == "WEBP":
        return _WEBP_BYTES_PER_PX * area_px
    picture_bytes = _BYTES_PER_PX.get(image.mode, 4) * area_px
    if image.format == "TIFF":
        return picture_bytes + _strip_bytes(image)
    if image.format == "PNG" and any("16" in str(tile[3]) for tile in _tiles(image)):
        return 2 * picture_bytes  # not memory: unpacking takes twice the time
    return picture_bytes


def _tiles(image: Image.Image) -> list[tuple[Any, ...]]:
    """How the file's parts are decoded: decoder, box, offset, arguments of the decoder."""
    return list(getattr(image, "tile", []))


def _samples_per_px(image: Image.Image) -> float:
    """Samples a pixel of a JPEG: 3 without subsampling, 1.5 where colours have half the width and half the height."""
    factors: list[tuple[int, int]] = [
        (horizontal, vertical) for _, horizontal, vertical, *_ in getattr(image, "layer", [])
    ]
    if not factors:
        return float(len(image.getbands()))
    widest, tallest = max(h for h, _ in factors), max(v for _, v in factors)
    return sum(h * v for h, v in factors) / max(1, widest * tallest)


def _strip_bytes(image: Image.Image) -> int:
    """Bytes of a TIFF that are decoded at once: a strip of rows, or a tile."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(TiffImagePlugin.BITSPERSAMPLE, (8,))
    samples: int = int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))
    bits_per_px: int = sum(bits) if len(bits) > 1 else bits[0] * samples
    if TiffImagePlugin.TILEWIDTH in tags:
        area_px = int(tags[TiffImagePlugin.TILEWIDTH]) * int(tags.get(TiffImagePlugin.TILELENGTH, 1))
    else:
        area_px = image.width * min(int(tags.get(TiffImagePlugin.ROWSPERSTRIP, image.height)), image.height)
    return area_px * bits_per_px // 8


def _turn_of(image: Image.Image) -> _Turn | None:
    """The turn that a decoded photo still needs; Pillow turns a TIFF while it loads it, and reports the turned size."""
    return None if image.format == "TIFF" else _TURNS.get(image.getexif().get(_EXIF_ORIENTATION, 1))


def _shrink_by_dct(image: Image.Image, min_short_side_px: int) -> int:
    """Sets a smaller decode size for a JPEG; returns the divisor of the size (1 for other formats)."""
    divisor = 1
    while divisor < 8 and min(image.size) // (divisor * 2) >= min_short_side_px:
        divisor *= 2
    if divisor == 1:
        return 1
    width_px, height_px = image.size
    drafted = image.draft(None, (width_px // divisor, height_px // divisor))
    return divisor if drafted else 1


def _stored_crop_box(size: tuple[int, int], turn: _Turn | None, transform: Transform) -> Box:
    """The region of the stored photo, in pixels, that becomes the upright crop."""
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
    """The region of an upright photo that Resize + CenterCrop select, with their rounding."""
    resize_px, side_px = transform.resize_px, transform.side_px
    if width_px <= height_px:
        resized_width_px, resized_height_px = resize_px, int(resize_px * height_px / width_px)
    else:
        resized_width_px, resized_height_px = int(resize_px * width_px / height_px), resize_px
    left, top = round((resized_width_px - side_px) / 2), round((resized_height_px - side_px) / 2)
    per_x, per_y = width_px / resized_width_px, height_px / resized_height_px
    return left * per_x, top * per_y, (left + side_px) * per_x, (top + side_px) * per_y


def _square(image: Image.Image, box: Box, transform: Transform) -> Image.Image:
    """The box of a photo as an RGB square; a large photo is resized band by band, with the same result."""
    side_px = transform.side_px
    is_plain = image.mode == "RGB" and "transparency" not in image.info
    image.load()
    if is_plain or image.width * image.height <= _WHOLE_PX:
        return _to_rgb(image).resize((side_px, side_px), _resampling(transform), box=box)
    square = Image.new("RGB", (side_px, side_px))
    left, top, right, bottom = box
    per_row = (bottom - top) / side_px
    for start, stop in _bands(side_px, per_row, image.width):
        band_top, band_bottom = top + start * per_row, top + stop * per_row
        reach = _FILTER_REACH * max(per_row, 1) + 1
        first, last = max(0, int(band_top - reach)), min(image.height, int(band_bottom + reach) + 1)
        rgb = _to_rgb(image.crop((0, first, image.width, last)))
        band_box = left, band_top - first, right, min(band_bottom - first, float(rgb.height))
        square.paste(rgb.resize((side_px, stop - start), _resampling(transform), box=band_box), (0, start))
    return square


def _resampling(transform: Transform) -> Image.Resampling:
    return Image.Resampling[transform.interpolation.upper()]


def _bands(side_px: int, per_row: float, width_px: int) -> Iterator[tuple[int, int]]:
    rows = max(_BAND_ROWS, int(_BAND_PX / max(1.0, per_row * width_px)))
    for start in range(0, side_px, rows):
        yield start, min(side_px, start + rows)


def _to_rgb(image: Image.Image) -> Image.Image:
    """Converts any colour mode to RGB: transparency over white, 16-bit grey by its high byte."""
    if image.mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise UnreadableImage(f"got a {image.format} with 32 bits a sample, for which no white level is defined")
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")
