"""Encodes a picture in the formats, colour modes, orientations and sizes of real shop photos."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

JPEG_SIDES_PX = (40, 97, 224, 333, 480, 700, 900, 1199, 1799, 2400, 3000)

# 34 megapixels; the limit is 50.
HUGE_PX = 5050


def encode(image: Image.Image, image_format: str, **options: object) -> bytes:
    """Encodes an image."""
    file = io.BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def encoders() -> dict[str, Callable[[Image.Image], bytes]]:
    """Name of an encoding -> function from picture to file."""
    jpegs = {f"jpeg {side_px} px": _jpeg_of(side_px) for side_px in JPEG_SIDES_PX}
    turned = {f"exif {orientation}": _exif_of(orientation, 501) for orientation in range(1, 9)}
    return {
        **jpegs,
        "jpeg huge": _jpeg_of(HUGE_PX),
        "jpeg portrait": lambda image: encode(_resized(image, 901).rotate(90, expand=True), "JPEG", quality=90),
        **turned,
        "exif 6 large": _exif_of(6, 1500),
        "progressive": lambda image: encode(_resized(image, 1000), "JPEG", quality=85, progressive=True),
        "grey jpeg": lambda image: encode(image.convert("L"), "JPEG", quality=90),
        "cmyk jpeg": lambda image: encode(image.convert("CMYK"), "JPEG", quality=90),
        "png": lambda image: encode(image, "PNG"),
        "grey png": lambda image: encode(image.convert("L"), "PNG"),
        "16-bit grey png": _sixteen_bit,
        "palette png": lambda image: encode(image.quantize(64), "PNG"),
        "rgba png": lambda image: encode(_with_alpha(image), "PNG"),
        "webp": lambda image: encode(image, "WEBP", quality=85),
        "rgba webp": lambda image: encode(_with_alpha(image), "WEBP", lossless=True),
        "gif": lambda image: encode(image, "GIF"),
        "bmp": lambda image: encode(image, "BMP"),
        "tiff": lambda image: encode(image, "TIFF"),
        "tiff, exif 6": lambda image: encode(image, "TIFF", exif=make_exif(6)),
        "1 x 1 px": lambda image: encode(image.resize((1, 1)), "PNG"),
        "1 x 40 px": lambda image: encode(image.resize((1, 40)), "PNG"),
    }


def _resized(image: Image.Image, short_side_px: int) -> Image.Image:
    """Resizes to about 4:3, so that no two sides have a round ratio."""
    return image.resize((short_side_px * 4 // 3 + 1, short_side_px), Image.Resampling.LANCZOS)


def _jpeg_of(short_side_px: int) -> Callable[[Image.Image], bytes]:
    return lambda image: encode(_resized(image, short_side_px), "JPEG", quality=90)


def _exif_of(orientation: int, short_side_px: int) -> Callable[[Image.Image], bytes]:
    return lambda image: encode(_resized(image, short_side_px), "JPEG", quality=90, exif=make_exif(orientation))


def make_exif(orientation: int) -> Image.Exif:
    """EXIF data with an orientation, 1 to 8."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return exif


def _with_alpha(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    rgba.putalpha(Image.radial_gradient("L").resize(image.size).point(lambda value: 255 - value))
    return rgba


def _sixteen_bit(image: Image.Image) -> bytes:
    grey = np.asarray(image.convert("L")).astype(np.uint16) * 257
    return encode(Image.fromarray(grey), "PNG")
