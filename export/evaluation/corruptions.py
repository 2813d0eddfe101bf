"""Image corruptions at three strengths, applied to the square input of the network.

After Hendrycks and Dietterich, Benchmarking Neural Network Robustness to Common Corruptions, 2019; the kinds are
typical of product photos. Strengths scale with the side, so that results for 224 px and 384 px networks are comparable.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageFilter

from export.arrays import Pixels

# uint8[S,S,3], strength, generator, uint8[M,S,S,3] other photos -> uint8[S,S,3].
Corrupt = Callable[[Pixels, float, np.random.Generator, Pixels], Pixels]

# Kind -> strengths, from mild to strong.
STRENGTHS: dict[str, tuple[float, float, float]] = {
    "blur": (0.005, 0.010, 0.020),  # radius of a Gaussian / side: 1, 2 and 4 px of 224
    "noise": (0.04, 0.08, 0.16),  # standard deviation / full range
    "JPEG": (40, 20, 8),  # quality
    "rotation": (10, 25, 45),  # degrees, in either direction
    "clutter": (0.85, 0.70, 0.55),  # side of the photo / side; the rest shows parts of other photos
    "crop": (0.85, 0.70, 0.55),  # side of the crop / side, at a random position
}

UNITS = {
    "blur": "radius / side",
    "noise": "standard deviation",
    "JPEG": "quality",
    "rotation": "degrees",
    "clutter": "photo / side",
    "crop": "rest / side",
}


def corrupt(pixels: Pixels, kind: str, strength: float, seed: int, others: Pixels) -> Pixels:
    """Corrupts uint8[N,S,S,3]; clutter is cropped from `others`, uint8[M,S,S,3].

    Each row has its own random generator, so the result does not depend on the batch size.
    """
    function = _CORRUPTIONS[kind]
    return np.stack(
        [function(photo, strength, np.random.default_rng([seed, row]), others) for row, photo in enumerate(pixels)]
    )


def _blur(photo: Pixels, radius: float, _random: np.random.Generator, _others: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(radius * len(photo))))


def _add_noise(photo: Pixels, deviation: float, random: np.random.Generator, _others: Pixels) -> Pixels:
    noise = random.normal(0, 255 * deviation, photo.shape)
    noisy: Pixels = np.clip(np.rint(photo + noise), 0, 255).astype(np.uint8)
    return noisy


def _compress(photo: Pixels, quality: float, _random: np.random.Generator, _others: Pixels) -> Pixels:
    file = io.BytesIO()
    Image.fromarray(photo).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file).convert("RGB"))


def _rotate(photo: Pixels, degrees: float, random: np.random.Generator, _others: Pixels) -> Pixels:
    """Fills the corners with the colour of the photo's edge: black corners would be a further corruption."""
    image = Image.fromarray(photo)
    angle = float(degrees * random.choice((-1, 1)))
    return np.asarray(image.rotate(angle, Image.Resampling.BICUBIC, fillcolor=_edge_colour(photo)))


def _clutter(photo: Pixels, share: float, random: np.random.Generator, others: Pixels) -> Pixels:
    """Pastes the photo, smaller, at a random position over crops of four other photos."""
    side = len(photo)
    half = side // 2
    scene = np.empty_like(photo)
    for top, left in ((0, 0), (0, half), (half, 0), (half, half)):
        other = others[random.integers(len(others))]
        height, width = side - half if top else half, side - half if left else half
        y, x = random.integers(0, side - height + 1), random.integers(0, side - width + 1)
        scene[top : top + height, left : left + width] = other[y : y + height, x : x + width]
    small = max(1, round(share * side))
    top, left = random.integers(0, side - small + 1), random.integers(0, side - small + 1)
    scene[top : top + small, left : left + small] = np.asarray(
        Image.fromarray(photo).resize((small, small), Image.Resampling.BICUBIC)
    )
    return scene


def _crop(photo: Pixels, share: float, random: np.random.Generator, _others: Pixels) -> Pixels:
    side = len(photo)
    rest = max(1, round(share * side))
    top, left = (int(value) for value in random.integers(0, side - rest + 1, 2))
    image = Image.fromarray(photo).resize(
        (side, side), Image.Resampling.BICUBIC, box=(left, top, left + rest, top + rest)
    )
    return np.asarray(image)


def _edge_colour(photo: Pixels) -> tuple[int, int, int]:
    edge = np.concatenate([photo[0], photo[-1], photo[:, 0], photo[:, -1]])
    red, green, blue = (int(value) for value in np.median(edge, axis=0))
    return red, green, blue


_CORRUPTIONS: dict[str, Corrupt] = {
    "blur": _blur,
    "noise": _add_noise,
    "JPEG": _compress,
    "rotation": _rotate,
    "clutter": _clutter,
    "crop": _crop,
}
