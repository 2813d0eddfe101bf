"""The probe: generated pictures with features and scores, stored with the heads.

It shows whether heads belong to a backbone, and whether their scores are those of training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from PIL import Image

from export.arrays import Floats, Pixels
from export.errors import VerificationError
from export.evaluation.calibration import softmax
from export.repository.configs import SCORES
from export.training.features.extractor import FeatureExtractor
from export.training.heads.fitting import Head

# Two builds of one network agree to 1e-4; int8 reaches 0.99 and is allowed; other networks are far below.
MIN_COSINE = 0.985

# Scores of two float32 runtimes differ by 1e-6, those of float16 by 1e-3.
MAX_SCORE_DIFFERENCE = 0.01

_SEED = 20_261_128


def make_probe(extractor: FeatureExtractor, heads: Mapping[str, Head]) -> dict[str, Any]:
    """`pixels` uint8[4,S,S,3], `features` float32[4,F], and `<attribute>_scores` float32[4,C] of each head."""
    pixels = _draw(extractor.transform.side_px)
    features = extractor.embed(pixels)
    scores = {f"{name}{SCORES}": softmax(head.logits(features)).astype(np.float32) for name, head in heads.items()}
    return {"pixels": pixels, "features": features, **scores}


def _draw(side_px: int) -> Pixels:
    """Random colour patches in four sizes."""
    random = np.random.default_rng(_SEED)
    pictures = []
    for blotches in (3, 7, 14, 28):
        small = Image.fromarray(random.integers(0, 256, (blotches, blotches, 3), np.uint8))
        pictures.append(np.asarray(small.resize((side_px, side_px), Image.Resampling.BICUBIC)))
    return np.stack(pictures)


def require_same_backbone(probe: Mapping[str, Any], embed: Callable[[Pixels], Floats]) -> None:
    """Checks that the features of the probe are those of training.

    Raises:
        VerificationError: `embed` is another backbone than the one that the heads were trained on.
    """
    pixels, expected = probe["pixels"], probe["features"]
    try:
        got = embed(pixels)
    except Exception as error:  # errors of ONNX Runtime for an input of another side
        side_px = pixels.shape[1]
        raise _other_backbone(f"it does not accept images of {side_px} x {side_px} px") from error
    if got.shape != expected.shape:
        raise _other_backbone(f"it has {got.shape[1]} features, training had {expected.shape[1]}")
    cosines = (got * expected).sum(axis=1) / (np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1))
    least = float(cosines.min())
    if not least >= MIN_COSINE:
        found = f"its probe features have a cosine of {least:.3f} to those of training, the limit is {MIN_COSINE}"
        raise _other_backbone(found)


def _other_backbone(found: str) -> VerificationError:
    return VerificationError(
        f"The heads were trained on another backbone than this one: {found}. "
        "Place the backbone of their training, or train on this one with `triptych train --repository`."
    )


def require_same_scores(probe: Mapping[str, Any], got: Mapping[str, Floats]) -> None:
    """Checks that scores for the features of the probe are those of training.

    Raises:
        VerificationError: the scores of a head differ by more than the limit.
    """
    for name, expected in probe.items():
        if not name.endswith(SCORES):
            continue
        difference = float(np.abs(got[name] - expected).max()) if got[name].shape == expected.shape else float("inf")
        if not difference <= MAX_SCORE_DIFFERENCE:
            raise VerificationError(
                f"{name} of the probe differ by {difference:.2g} from training, the limit is "
                f"{MAX_SCORE_DIFFERENCE:g}: the heads are damaged. Nothing was placed. Train them again."
            )
