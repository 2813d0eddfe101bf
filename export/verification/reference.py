"""The reference preprocessing of all checks: Pillow decodes, torchvision's transform resizes and crops."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from torchvision.transforms import v2

from export.arrays import Pixels
from triptych_models.recognition.transform import Transform


def reference_pixels(photo: bytes, transform: Transform) -> Pixels:
    """uint8[S,S,3]: an encoded photo, upright, transparency over white, 16-bit grey reduced to its high byte."""
    resize_and_crop = v2.Compose(
        [
            v2.Resize(transform.resize_px, v2.InterpolationMode(transform.interpolation)),
            v2.CenterCrop(transform.side_px),
        ]
    )
    with Image.open(io.BytesIO(photo)) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            upright = Image.fromarray((np.asarray(upright) // 256).astype(np.uint8))
        if upright.has_transparency_data:
            rgba = upright.convert("RGBA")
            upright = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
        return np.asarray(resize_and_crop(upright.convert("RGB")))


def read_pixels(photos: Sequence[Path], transform: Transform) -> Pixels:
    """uint8[N,S,S,3]: files by `reference_pixels`."""
    return np.stack([reference_pixels(photo.read_bytes(), transform) for photo in photos])
