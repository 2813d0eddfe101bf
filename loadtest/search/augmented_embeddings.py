"""Embeddings of augmented photos in any number: crops, mirror images and colour changes through the placed network.

Random vectors do not replace them: in 1,280 dimensions all are equally far apart, and the recall of an HNSW index on
them does not predict the recall on photos.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from PIL import Image, ImageEnhance, ImageOps
from rich.console import Console
from rich.progress import Progress

from loadtest.errors import LoadTestError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
SEED = 8
BATCH = 8
# Smallest share of the photo's area in a crop; a crop has the photo's aspect ratio.
LEAST_AREA = 0.35
# Brightness and contrast are multiplied by a factor from 1 - COLOUR to 1 + COLOUR.
COLOUR = 0.3

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


def find_photos(folders: Sequence[Path]) -> list[Path]:
    """All photos in the folders and their subfolders.

    Raises:
        LoadTestError: the folders have no photos.
    """
    photos = [file for folder in folders for file in sorted(folder.rglob("*")) if file.suffix.lower() in SUFFIXES]
    if not photos:
        raise LoadTestError(f"No photos in {', '.join(map(str, folders))}; expected {', '.join(sorted(SUFFIXES))}.")
    return photos


def embed_augmented(photos: Sequence[Path], count: int, embedder: Path, file: Path, console: Console) -> Floats:
    """float32[count, D], L2 norm 1: row i is of photo i modulo their number. Rows already in the file are kept.

    Raises:
        LoadTestError: a photo cannot be read, or the network is not placed.
    """
    if not embedder.is_file():
        raise LoadTestError(f"No network at {embedder}. Place it with `make build`.")
    options = ort.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    session = ort.InferenceSession(str(embedder), options, providers=["CPUExecutionProvider"])
    side_px = int(session.get_inputs()[0].shape[1])
    dimension = int(session.get_outputs()[1].shape[1])
    row_bytes = 4 * dimension
    file.parent.mkdir(parents=True, exist_ok=True)
    done = file.stat().st_size // row_bytes if file.exists() else 0
    with file.open("ab") as output, Progress(console=console, transient=True) as progress:
        output.truncate(done * row_bytes)  # an interrupted run leaves a partial row
        task = progress.add_task("Embedding augmented photos", total=count, completed=min(done, count))
        for first in range(done, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            pixels = np.stack([_augment(photos[number % len(photos)], number, side_px) for number in numbers])
            output.write(session.run(["embedding"], {"pixels": pixels})[0].astype(np.float32).tobytes())
            progress.advance(task, len(numbers))
    return np.memmap(file, np.float32, "r", shape=(count, dimension))


def _augment(photo: Path, number: int, side_px: int) -> Pixels:
    """uint8[S,S,3], RGB; deterministic for a number."""
    random = np.random.default_rng([SEED, number])
    try:
        with Image.open(photo) as image:
            image.draft("RGB", (2 * side_px, 2 * side_px))
            colours = image.convert("RGB")
    except OSError as error:
        raise LoadTestError(f"Cannot read the photo {photo} ({error}). Remove it from the folder.") from error
    width, height = colours.size
    share = np.sqrt(random.uniform(LEAST_AREA, 1.0))
    wide, tall = max(1, int(width * share)), max(1, int(height * share))
    left, top = random.integers(0, width - wide + 1), random.integers(0, height - tall + 1)
    box = (left, top, left + wide, top + tall)
    crop = colours.resize((side_px, side_px), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0)
    if random.random() < 0.5:
        crop = ImageOps.mirror(crop)
    contrast, brightness = random.uniform(1 - COLOUR, 1 + COLOUR, 2)
    crop = ImageEnhance.Brightness(ImageEnhance.Contrast(crop).enhance(contrast)).enhance(brightness)
    return np.asarray(crop)
