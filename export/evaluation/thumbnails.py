"""Thumbnails of photos, and inline `data:` URLs for HTML."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from PIL import Image, ImageOps

_SIDE_PX = 160
_QUALITY = 78


def read_thumbnail(photo: Path, side_px: int = _SIDE_PX) -> Image.Image | None:
    """An upright RGB thumbnail of at most `side_px` per side; None if the file cannot be read as a photo."""
    try:
        with Image.open(photo) as image:
            image.draft("RGB", (2 * side_px, 2 * side_px))
            small = ImageOps.exif_transpose(image)
            small.thumbnail((side_px, side_px))
            if not small.has_transparency_data:
                return small.convert("RGB")
            rgba = small.convert("RGBA")
            return Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # the report shows a placeholder instead


def inline_jpeg(image: Image.Image) -> str:
    """A `data:` URL."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return inline(file.getvalue(), "image/jpeg")


def inline(content: bytes, media_type: str) -> str:
    """A `data:` URL."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
