"""Classes of a small shop, the mean colour of their photos, and how these are made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"red": (200, 40, 40), "green": (40, 200, 40), "blue": (40, 40, 200)}


def paint(folder: Path, colours: dict[str, tuple[int, int, int]], count: int, spread: float, seed: int) -> None:
    """Photos of one shade each, around a colour: fields of their own so that they are no near-duplicates."""
    random = np.random.default_rng(seed)
    for colour, rgb in colours.items():
        (folder / colour).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            fields = np.clip(random.normal(rgb, spread, (5, 5, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(fields).resize((120, 120), Image.Resampling.NEAREST).save(
                folder / colour / f"{seed}-{number}.png"
            )
