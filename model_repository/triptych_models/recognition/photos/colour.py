"""Brings a photo's colours to sRGB, as a browser shows them, and its other modes to RGB.

The conversion is applied to the resized square, not to the whole photo. A colour profile that is damaged, or of other
channels than the photo has, is ignored.
"""

from __future__ import annotations

import functools
import hashlib
import io
import struct
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageCms

from triptych_models.errors import UnreadableImage
from triptych_models.recognition.photos.colour_profiles import profile_of_code_points, profile_of_gamma
from triptych_models.recognition.photos.isobmff import StillFile
from triptych_models.recognition.photos.metadata import MAX_PROFILE_BYTES

_MIN_PROFILE_BYTES = 132
_CLASSES = (b"mntr", b"scnr", b"prtr", b"spac")
_CONNECTION_SPACES = (b"XYZ ", b"Lab ")
# A conversion that changes no colour by more is left out: sRGB under any name, in any version.
_SAME_COLOUR = 2
# Each takes up to 2 MB, where it is of CMYK.
_MAX_CONVERSIONS = 16
_GREYS = ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N")
_PNG_CICP = b"\x00\x00\x00\x04cICP"


class Conversion(NamedTuple):
    """A conversion to sRGB.

    Attributes:
        mode: RGB, CMYK, or L for a profile of greys.
        apply: a square in CMYK, or in RGB for the other two -> the same in sRGB.
    """

    mode: str
    apply: Callable[[Image.Image], Image.Image]


_conversions: OrderedDict[tuple[bytes, str], Conversion | None] = OrderedDict()


def conversion_of(image: Image.Image, photo: bytes, still: StillFile | None) -> Conversion | None:
    """The conversion that an opened photo needs; None for sRGB, for photos without colours told, for damaged ones."""
    profile = _profile_of(image, photo, still)
    if not isinstance(profile, bytes) or not _MIN_PROFILE_BYTES <= len(profile) <= MAX_PROFILE_BYTES:
        return None
    mode = _input_mode(image.mode, profile)
    if mode is None:
        return None
    key = (hashlib.sha256(profile).digest(), mode)
    if key not in _conversions:
        while len(_conversions) >= _MAX_CONVERSIONS:
            _conversions.popitem(last=False)
        _conversions[key] = _build(profile, mode)
    return _conversions[key]


def to_srgb(square: Image.Image, conversion: Conversion | None) -> Image.Image:
    """A square in RGB, or in CMYK where the conversion is from CMYK -> RGB."""
    return square if conversion is None else conversion.apply(square)


def flatten(image: Image.Image, keeps_cmyk: bool = False) -> Image.Image:
    """Any mode -> RGB, with transparency over white and 16-bit grey by its high byte; CMYK stays where asked."""
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        return _flatten_16_bit(image)
    if image.mode in ("I", "F"):
        raise UnreadableImage(
            f"got a {image.format or 'TIFF'} with 32 bits a sample, for which no white level is defined",
            "Save it with 8 or 16 bits a sample.",
        )
    if image.mode == "CMYK" and keeps_cmyk:
        return image
    if image.has_transparency_data:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _flatten_16_bit(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    grey = (values >> 8).astype(np.uint8)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        grey[values == transparent] = 255
    return Image.fromarray(grey).convert("RGB")


def _profile_of(image: Image.Image, photo: bytes, still: StillFile | None) -> bytes | None:
    """The ICC profile, or one made of the numbers in the file. Of several, the one that the PNG and HEIF rules name."""
    if image.format == "PNG":
        at = photo.find(_PNG_CICP, 0, photo.find(b"IDAT"))
        if at >= 0 and len(photo) > at + 12:
            return profile_of_code_points(photo[at + 8], photo[at + 9])
    profile: bytes | None = image.info.get("icc_profile")
    if profile is not None:
        return profile
    if still is not None:
        return profile_of_code_points(*still.nclx) if still.nclx else None
    if image.format == "PNG" and "srgb" not in image.info and "gamma" in image.info:
        return profile_of_gamma(float(image.info["gamma"]), tuple(image.info.get("chromaticity", ())))
    return None


def _input_mode(mode: str, profile: bytes) -> str | None:
    """The mode in which the square enters the conversion; None where photo and profile do not go together."""
    size, kind, space, connection = (*struct.unpack_from(">I", profile), profile[12:16], profile[16:20], profile[20:24])
    if profile[36:40] != b"acsp" or size > len(profile) or kind not in _CLASSES or connection not in _CONNECTION_SPACES:
        return None
    if mode == "CMYK":
        return "CMYK" if space == b"CMYK" else None
    if mode in ("LAB", "HSV"):
        return None
    if space == b"RGB ":
        return "RGB"
    return "L" if space == b"GRAY" and mode in _GREYS else None


def _build(profile: bytes, mode: str) -> Conversion | None:
    # LittleCMS replaces curves of greys by coarser tables: 2 in linear light became 12 instead of 22.
    flags = ImageCms.Flags.NOOPTIMIZE if mode == "L" else ImageCms.Flags.NONE
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, _srgb(), mode, "RGB", ImageCms.Intent.PERCEPTUAL, flags)
        conversion = Conversion(mode, _table_of(transform) if mode == "L" else transform.apply)
        return None if _changes_little(conversion) else conversion
    except Exception:  # LittleCMS refuses it; Pillow raises errors of several classes
        return None


def _table_of(transform: ImageCms.ImageCmsTransform) -> Callable[[Image.Image], Image.Image]:
    """The conversion of 256 greys as a table: 0.1 ms a square, where LittleCMS takes 9 without its optimizations."""
    ramp = Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis])
    table: list[int] = np.asarray(transform.apply(ramp))[0].T.reshape(-1).tolist()
    return functools.partial(Image.Image.point, lut=table)


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@functools.cache
def _samples() -> Image.Image:
    """9 x 9 x 9 colours, greys among them."""
    levels = np.linspace(0, 255, 9).round().astype(np.uint8)
    return Image.fromarray(np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3))


def _changes_little(conversion: Conversion) -> bool:
    if conversion.mode == "CMYK":
        return False
    before = _samples().convert("L").convert("RGB") if conversion.mode == "L" else _samples()
    change = np.asarray(to_srgb(before, conversion)).astype(int) - np.asarray(before)
    return bool(np.abs(change).max() <= _SAME_COLOUR)
