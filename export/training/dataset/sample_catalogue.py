"""Makes a small catalogue to try `train` on: crops of the sample photos, one class folder per photo.

Run as `python -m export.training.dataset.sample_catalogue FOLDER [PHOTOS]`.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from PIL import Image

CROPS = 14


def make_catalogue(folder: Path, photos: list[Path]) -> int:
    """Writes `CROPS` random crops of each photo into its class folder, deterministically; returns their number."""
    draw = random.Random(0)
    for photo in photos:
        target = folder / photo.stem.rpartition("_")[2]
        target.mkdir(parents=True, exist_ok=True)
        with Image.open(photo) as opened:
            image = opened.convert("RGB")
        for number in range(CROPS):
            share = draw.uniform(0.4, 0.7)
            width_px, height_px = round(image.width * share), round(image.height * share)
            left_px, top_px = draw.randrange(image.width - width_px), draw.randrange(image.height - height_px)
            image.crop((left_px, top_px, left_px + width_px, top_px + height_px)).save(target / f"{number}.jpg")
    return CROPS * len(photos)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    source = Path((sys.argv[2:] or [".cache/photos"])[0])
    found = sorted(source.glob("*.jpg"))
    if not found:
        sys.exit(f"error: no *.jpg in {source}. Download the samples with `make photos`.")
    print(f"{make_catalogue(Path(sys.argv[1]), found)} photos of {len(found)} classes in {sys.argv[1]}")
