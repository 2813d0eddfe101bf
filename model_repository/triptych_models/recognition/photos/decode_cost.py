"""Refuses photos whose decoding would cost too much memory or time. Both are estimated before a pixel is decoded."""

from __future__ import annotations

import math
from typing import Any

from PIL import Image, TiffImagePlugin

from triptych_models.errors import ImageTooLarge
from triptych_models.recognition.photos.isobmff import StillFile

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
JPEGS = ("JPEG", "MPO")

# The planes, the pixels as bytes, the photo. Peaks with Pillow 13.0 and pillow-heif 1.8.1, of 6 and 12 megapixels: HEIC
# 8.0 (4:2:0), 10.1 (4:4:4), 13.0 (alpha), 16.0 (10 bits), 21.0 (10 bits, alpha); AVIF 9.3, 11.1, 13.6. AVIF of more
# than 8 bits has planes of two bytes a sample: 3 to 4 more.
_STILL_BYTES_PER_PX = {
    ("HEIF", False, False): 8.5,
    ("HEIF", False, True): 14,
    ("HEIF", True, False): 17,
    ("HEIF", True, True): 22,
    ("AVIF", False, False): 9.5,
    ("AVIF", False, True): 14,
    ("AVIF", True, False): 15,
    ("AVIF", True, True): 18,
}
_FULL_CHROMA_BYTES_PER_PX = 2


def check_cost(image: Image.Image, photo: bytes, still: StillFile | None) -> None:
    """Refuses a photo that would take too much memory or time.

    Raises:
        ImageTooLarge: it would.
    """
    width_px, height_px = image.size
    if still is not None:
        width_px, height_px = max([image.size, *still.sizes_px], key=math.prod)
    article = "an" if image.format == "AVIF" else "a"
    size = f"{article} {display_name(image.format)} of {width_px} x {height_px}"
    scans = _count_scans(photo) if image.format in JPEGS else 0
    needed_bytes = _decoded_bytes(image, scans) if still is None else _still_bytes(image, width_px * height_px, still)
    if needed_bytes > MAX_DECODED_BYTES:
        found = f"{size} that takes {needed_bytes / 1e6:.0f} MB of memory to decode"
        raise ImageTooLarge(found, f"{MAX_DECODED_BYTES / 1e6:g} MB")
    if scans > MAX_SCANS:
        raise ImageTooLarge(f"{size} in {scans} scans", f"{MAX_SCANS} scans")
    is_run_length_encoded = any(tile[0] == "bmp_rle" for tile in _tiles(image))
    if is_run_length_encoded and len(photo) > MAX_RUN_LENGTH_BYTES:
        found = f"{size}, run-length encoded in {len(photo) / 1e6:.1f} MB"
        raise ImageTooLarge(found, f"{MAX_RUN_LENGTH_BYTES / 1e6:g} MB")


def display_name(image_format: str | None) -> str:
    """Pillow's name of a format as people know it."""
    return {"HEIF": "HEIC", "WEBP": "WebP"}.get(image_format or "", image_format or "photo")


def _still_bytes(image: Image.Image, area_px: int, still: StillFile) -> int:
    has_alpha = "A" in image.mode
    per_px = _STILL_BYTES_PER_PX[image.format or "HEIF", still.bit_depth > 8, has_alpha]
    if not has_alpha and not still.is_subsampled:
        per_px += _FULL_CHROMA_BYTES_PER_PX
    return int(per_px * area_px)


def _count_scans(photo: bytes) -> int:
    """Scans of a JPEG, including those of its thumbnail; the marker cannot occur in compressed data."""
    return photo.count(b"\xff\xda")


def _decoded_bytes(image: Image.Image, scans: int) -> int:
    """The peak memory of decoding the whole photo, before any conversion."""
    area_px = image.width * image.height
    if image.format in JPEGS:
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
