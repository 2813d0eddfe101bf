"""How a backbone was trained to see photos. Apart from `preprocessing`, so that who only reads it loads no decoder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Transform:
    """How the backbone was trained to see: resize the short side to `side_px / crop_ratio`, crop `side_px` squared."""

    side_px: int
    crop_ratio: float
    interpolation: str

    @property
    def resize_px(self) -> int:
        return round(self.side_px / self.crop_ratio)


def read_transform(file: Path) -> Transform:
    """`transform.json`, as `python -m export place` writes it."""
    return Transform(**json.loads(file.read_text(encoding="utf-8")))
