"""Writes contact sheets (PNG) and tables (CSV) for people who label photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from export.evaluation.thumbnails import read_thumbnail
from export.training.dataset.tables import to_csv

_CELL_PX, _TEXT_PX, _GAP_PX, _COLUMNS = 160, 34, 10, 8
_MOST = 200


def write_sheet(file: Path, cells: Sequence[tuple[Path, str, str]]) -> None:
    """Writes at most 200 photos with two lines of text each; unreadable photos are grey.

    Raises:
        OSError: the file cannot be written.
    """
    shown = cells[:_MOST]
    columns = min(_COLUMNS, max(1, len(shown)))
    rows = -(-len(shown) // columns)
    width, height = _CELL_PX + _GAP_PX, _CELL_PX + _TEXT_PX + _GAP_PX
    sheet = Image.new("RGB", (columns * width + _GAP_PX, rows * height + _GAP_PX), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, (photo, first, second) in enumerate(shown):
        left, top = _GAP_PX + place % columns * width, _GAP_PX + place // columns * height
        draw.rectangle((left, top, left + _CELL_PX - 1, top + _CELL_PX - 1), fill=(240, 241, 244))
        small = read_thumbnail(photo, _CELL_PX)
        if small is not None:
            sheet.paste(small, (left + (_CELL_PX - small.width) // 2, top + (_CELL_PX - small.height) // 2))
        draw.text((left, top + _CELL_PX + 2), _fitting(first, draw, font), fill=(24, 24, 27), font=font)
        draw.text((left, top + _CELL_PX + 17), _fitting(second, draw, font), fill=(113, 113, 122), font=font)
    sheet.save(file, "PNG")


def _fitting(text: str, draw: ImageDraw.ImageDraw, font: Any) -> str:
    """The text, shortened to the width of a cell."""
    if draw.textlength(text, font=font) <= _CELL_PX:
        return text
    while text and draw.textlength(f"{text}…", font=font) > _CELL_PX:
        text = text[:-1]
    return f"{text}…"


def write_table(file: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Writes a CSV table.

    Raises:
        OSError: the file cannot be written.
    """
    file.write_bytes(to_csv(columns, ([row[column] for column in columns] for row in rows)))
