"""The photo transform of a backbone. Separate from `preprocessing`, whose import loads the image decoder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Transform:
    """The transform of the training: resize the short side to `side_px / crop_ratio`, crop a square of `side_px`."""

    side_px: int
    crop_ratio: float
    interpolation: str

    @property
    def resize_px(self) -> int:
        return round(self.side_px / self.crop_ratio)


def read_transform(file: Path) -> Transform:
    """Reads `transform.json`, which `triptych build` writes."""
    return Transform(**json.loads(file.read_text(encoding="utf-8")))
