"""A picture of a search: the query on the left, the results beside it, with similarities and ids."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from triptych.cli.exit_codes import CommandFailed
from triptych.results import Match

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

_CELL_PX, _GAP_PX, _TEXT_PX, _COLUMNS = 220, 16, 58, 5
_INK, _FAINT, _PAPER, _EMPTY = (24, 24, 27), (113, 113, 122), (255, 255, 255), (244, 244, 245)
_ACCENT = (37, 99, 235)


def write_sheet(path: str, query: bytes, name: str, matches: Sequence[Match], folder: str) -> int:
    """Writes the picture, with a grey field for each missing photo. Returns the number of missing photos.

    Args:
        path: of the PNG.
        query: the encoded photo of the query.
        name: the text below it.
        matches: the results.
        folder: the folder of the photos that `fields` name.

    Raises:
        CommandFailed: the file cannot be written.
    """
    from PIL import Image, ImageDraw

    rows = max(1, -(-len(matches) // _COLUMNS))
    size = (
        (_COLUMNS + 1) * (_CELL_PX + _GAP_PX) + 2 * _GAP_PX,
        rows * (_CELL_PX + _TEXT_PX + _GAP_PX) + _GAP_PX,
    )
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    fonts = load_font(16), load_font(13)
    _cell(sheet, draw, (_GAP_PX, _GAP_PX), _opened(query), ("query", name), fonts, _ACCENT)
    line_x = 2 * _GAP_PX + _CELL_PX
    draw.line((line_x, _GAP_PX, line_x, size[1] - _GAP_PX), fill=(212, 212, 216), width=1)
    if not matches:
        draw.text((line_x + _GAP_PX, _GAP_PX), "no results", fill=_FAINT, font=fonts[0])
    missing = 0
    for place, match in enumerate(matches):
        row, column = divmod(place, _COLUMNS)
        at = (
            line_x + _GAP_PX + column * (_CELL_PX + _GAP_PX),
            _GAP_PX + row * (_CELL_PX + _TEXT_PX + _GAP_PX),
        )
        texts = (f"{match.rank}.  {match.similarity:.3f}", match.product_id)
        photo = _photo_of(match, folder)
        missing += photo is None
        _cell(sheet, draw, at, photo, texts, fonts, _INK)
    try:
        sheet.save(path, "PNG")
    except OSError as error:
        raise CommandFailed(f"{path!r} cannot be written ({error.strerror or error}).") from error
    return missing


def _cell(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    photo: Image.Image | None,
    texts: tuple[str, str],
    fonts: tuple[Any, Any],
    ink: tuple[int, int, int],
) -> None:
    left, top = at
    draw.rectangle((left, top, left + _CELL_PX - 1, top + _CELL_PX - 1), fill=_EMPTY)
    if photo is None:
        draw.text((left + 12, top + _CELL_PX // 2 - 8), "photo not found", fill=_FAINT, font=fonts[1])
    else:
        photo.thumbnail((_CELL_PX, _CELL_PX))
        sheet.paste(photo, (left + (_CELL_PX - photo.width) // 2, top + (_CELL_PX - photo.height) // 2))
    for line, (text, font) in enumerate(zip(texts, fonts, strict=True)):
        shown = _cut(draw, text, font)
        draw.text((left, top + _CELL_PX + 6 + 24 * line), shown, fill=ink if line == 0 else _FAINT, font=font)


def _photo_of(match: Match, folder: str) -> Image.Image | None:
    """The photo that the field `photo` names; only photos below the folder are opened."""
    named = match.fields.get("photo")
    if not isinstance(named, str):
        return None
    try:
        place = Path(folder, named).resolve()
        if not place.is_relative_to(Path(folder).resolve()) or not place.is_file():
            return None
        return _opened(place.read_bytes())
    except (OSError, ValueError):
        return None


def _opened(content: bytes) -> Image.Image | None:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(content)) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except Exception:  # decoders raise any exception; the sheet then shows a grey field
        return None


def _cut(draw: ImageDraw.ImageDraw, text: str, font: Any) -> str:
    if draw.textlength(text, font=font) <= _CELL_PX:
        return text
    while text and draw.textlength(f"{text}...", font=font) > _CELL_PX:
        text = text[:-1]
    return f"{text}..."


def load_font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's default font, so that a sheet looks the same on every machine."""
    from PIL import ImageFont

    return ImageFont.load_default(size_px)
