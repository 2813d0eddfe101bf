"""Thumbnails of photos, for reports and contact sheets."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps


def read_thumbnail(photo: Path, side_px: int) -> Image.Image | None:
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
