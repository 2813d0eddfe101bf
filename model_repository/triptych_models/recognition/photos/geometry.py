"""Which part of a stored photo becomes the square, and how it is resampled. Knows nothing of files or formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from PIL import Image

from triptych_models.recognition.transform import Transform

Box = tuple[float, float, float, float]  # left, top, right, bottom

# A larger photo is flattened and resized band by band, so that no second full-size copy exists.
WHOLE_PX = 4_000_000
_BAND_PX = 1_000_000
# The least rows of the square in a band: each band is resampled from some rows beyond it.
_BAND_ROWS = 6
# The widest filter, Lanczos, reads 3 rows of the smaller photo on each side.
_FILTER_REACH = 3


class Turn(NamedTuple):
    """The operation that turns a photo upright; its inverse on a box mirrors along x and y, then swaps x and y."""

    transpose: Image.Transpose
    mirrors_x: bool
    mirrors_y: bool
    swaps_axes: bool


# Source: EXIF 2.32, tag 0x0112.
TURNS = {
    2: Turn(Image.Transpose.FLIP_LEFT_RIGHT, True, False, False),
    3: Turn(Image.Transpose.ROTATE_180, True, True, False),
    4: Turn(Image.Transpose.FLIP_TOP_BOTTOM, False, True, False),
    5: Turn(Image.Transpose.TRANSPOSE, False, False, True),
    6: Turn(Image.Transpose.ROTATE_270, True, False, True),
    7: Turn(Image.Transpose.TRANSVERSE, True, True, True),
    8: Turn(Image.Transpose.ROTATE_90, False, True, True),
}


def stored_crop_box(size: tuple[int, int], turn: Turn | None, transform: Transform) -> Box:
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


def square_of(
    image: Image.Image, box: Box, transform: Transform, flatten: Callable[[Image.Image], Image.Image]
) -> Image.Image:
    """The box of a loaded photo as a square; a large photo is flattened and resized by bands, with the same result.

    `flatten` brings a photo, or some rows of one, to a mode that can be resized. What it returns unchanged is resized
    whole.
    """
    side_px = transform.side_px
    resampling = Image.Resampling[transform.interpolation.upper()]
    if image.width * image.height <= WHOLE_PX or flatten(pixel := image.crop((0, 0, 1, 1))) is pixel:
        return flatten(image).resize((side_px, side_px), resampling, box=box)
    left, top, right, bottom = box
    per_row = (bottom - top) / side_px
    square: Image.Image | None = None
    for start, stop in _bands(side_px, per_row, image.width):
        band_top, band_bottom = top + start * per_row, top + stop * per_row
        reach = _FILTER_REACH * max(per_row, 1) + 1
        first, last = max(0, int(band_top - reach)), min(image.height, int(band_bottom + reach) + 1)
        flat = flatten(image.crop((0, first, image.width, last)))
        band_box = left, band_top - first, right, min(band_bottom - first, float(flat.height))
        square = square or Image.new(flat.mode, (side_px, side_px))
        square.paste(flat.resize((side_px, stop - start), resampling, box=band_box), (0, start))
    assert square is not None
    return square


def _bands(side_px: int, per_row: float, width_px: int) -> Iterator[tuple[int, int]]:
    rows = max(_BAND_ROWS, int(_BAND_PX / max(1.0, per_row * width_px)))
    for start in range(0, side_px, rows):
        yield start, min(side_px, start + rows)
