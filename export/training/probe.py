"""Are these heads for that backbone, and do they say what they said in training? A few drawn pictures, their features
and the scores each head gives them travel with the heads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from export.contract import SCORES
from export.errors import VerificationError
from export.evaluation.calibration import softmax
from export.training.eye import Eye
from export.training.heads import Head

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

# Two builds of one network agree to 1e-4; int8 is held to 0.99 and may be served, another network is far from it.
MIN_COSINE = 0.985

# float32 in two runtimes differs by 1e-6, float16 by 1e-3.
MAX_SCORE_DIFFERENCE = 0.01

_SEED = 20_261_128


def make_probe(eye: Eye, heads: Mapping[str, Head]) -> dict[str, Any]:
    """`pixels` uint8[4,S,S,3], `features` float32[4,F], and `<attribute>_scores` float32[4,C] of each head."""
    pixels = _draw(eye.transform.side_px)
    features = eye.embed(pixels)
    scores = {f"{name}{SCORES}": softmax(head.logits(features)).astype(np.float32) for name, head in heads.items()}
    return {"pixels": pixels, "features": features, **scores}


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


def refuse_other_scores(probe: Mapping[str, Any], classify: Callable[[Floats], Mapping[str, Floats]]) -> None:
    """Raises VerificationError where the placed heads do not say of the probe what they said when they were trained."""
    got = classify(probe["features"])
    for name, expected in probe.items():
        if not name.endswith(SCORES):
            continue
        difference = float(np.abs(got[name] - expected).max()) if got[name].shape == expected.shape else float("inf")
        if not difference <= MAX_SCORE_DIFFERENCE:
            raise VerificationError(
                f"{name} of drawn pictures differ by {difference:.2g} from those in training, the limit is "
                f"{MAX_SCORE_DIFFERENCE:g}: the heads are damaged. Nothing was placed. Train them again."
            )


_SENTENCE = (
    "The heads were trained on another backbone than this one: {}. Nothing was placed. "
    "Place the backbone they were trained on, or train them on this one with `python -m export train --repository`."
)
