"""Are these heads for that backbone? A drawn picture and its features travel with the heads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from export.errors import VerificationError
from export.training.eye import Eye

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# Two builds of one network agree to 1e-4; int8 is held to 0.99 and may be served, another network is far from it.
MIN_COSINE = 0.985

_PICTURES = 4
_SEED = 20_261_128


def make_probe(eye: Eye) -> dict[str, Any]:
    """`pixels` uint8[4,S,S,3] and `features` float32[4,F]."""
    pixels = _draw(eye.transform.side_px)
    return {"pixels": pixels, "features": eye.embed(pixels)}


def _draw(side_px: int) -> Pixels:
    """Blotches of colour of four sizes."""
    random = np.random.default_rng(_SEED)
    pictures = []
    for blotches in (3, 7, 14, 28):
        small = Image.fromarray(random.integers(0, 256, (blotches, blotches, 3), np.uint8))
        pictures.append(np.asarray(small.resize((side_px, side_px), Image.Resampling.BICUBIC)))
    return np.stack(pictures)


def refuse_other_backbone(probe: Mapping[str, Any], embed: Callable[[Pixels], Floats]) -> None:
    """Raises VerificationError where `embed` does not see what the heads were trained on."""
    pixels, expected = probe["pixels"], probe["features"]
    try:
        got = embed(pixels)
    except Exception as error:  # ONNX Runtime's own, for pixels of another side
        raise VerificationError(
            _SENTENCE.format(f"it takes no pixels of {pixels.shape[1]} x {pixels.shape[2]}")
        ) from error
    if got.shape != expected.shape:
        found = f"its features are {got.shape[1]}, those of training {expected.shape[1]}"
        raise VerificationError(_SENTENCE.format(found))
    cosines = (got * expected).sum(axis=1) / (np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1))
    if not float(cosines.min()) >= MIN_COSINE:
        found = f"of a drawn picture its features have a cosine of {cosines.min():.3f} to those of training"
        raise VerificationError(_SENTENCE.format(found))


_SENTENCE = (
    "The heads were trained on another backbone than this one: {}. Nothing was placed. "
    "Place the backbone they were trained on, or train them on this one with `python -m export train --repository`."
)
