"""Compares predictions for encoded photos between the serving code and the reference, over many file formats.

Owns the encodings, the figures and their limits. Callers pass the predictor: placing passes the serving package with
ONNX Runtime, tests pass a running server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from export.arrays import Floats, Pixels
from export.errors import VerificationError
from export.repository.configs import Configs
from export.repository.serving_package import limits_of
from export.verification.encodings import encoders
from export.verification.onnx_session import open_session
from export.verification.reference import reference_pixels
from triptych_models.recognition.preprocessing import preprocess_all
from triptych_models.recognition.transform import Transform

# Photos per encoding, taken in turn.
PHOTOS_PER_ENCODING = 3
_BATCH_SIZE = 8

MIN_TOP1_AGREEMENT = 0.99

# Untrained filters amplify fine detail: over ten architectures, decoding at a reduced size changes the embedding by
# 0.03 to 19 % of the distance to another photo. Random weights are therefore checked by that share; a wrong
# orientation, colour order or crop exceeds the limit.
MAX_RANDOM_SHARE = 0.25
MIN_RANDOM_TOP1_AGREEMENT = 0.97

# If the two best scores are closer than this, one grey level of one pixel can change the best class. Such photos are
# counted as ties and excluded from the agreement.
TIE_SCORE = 0.02

# Encoded photos -> category_scores float32[N,C], embedding float32[N,F].
Predictor = Callable[[Sequence[bytes]], tuple[Floats, Floats]]


@dataclass(frozen=True)
class EncodedPhoto:
    """A photo in one encoding."""

    name: str
    content: bytes


@dataclass(frozen=True)
class PhotoParity:
    """Served predictions compared with the reference.

    Attributes:
        cosine_min, cosine_mean: between the served and the reference embedding of the same photo.
        unlike_cosine_mean: between reference embeddings of different photos: the value without any agreement.
        share_of_unlike: worst distance (1 - cosine) divided by the mean distance between different photos.
        ties: photos whose two best reference scores are within `TIE_SCORE`.
        top1_agreement: share of the other photos with the same best class as the reference.
        top1_agreement_with_ties: the same share over all photos.
    """

    photos: int
    encodings: int
    cosine_min: float
    cosine_mean: float
    worst: str
    unlike_cosine_mean: float
    share_of_unlike: float
    ties: int
    top1_agreement: float
    top1_agreement_with_ties: float


def encode_all(photos: Sequence[Path], per_encoding: int = PHOTOS_PER_ENCODING) -> list[EncodedPhoto]:
    """Encodes `per_encoding` photos in every encoding, taking the photos in turn."""
    encoded = []
    opened: dict[Path, Image.Image] = {}
    for index, (name, make) in enumerate(encoders().items()):
        # One huge photo takes as long as all others together.
        for turn in range(1 if name == "jpeg huge" else min(per_encoding, len(photos))):
            photo = photos[(index * per_encoding + turn) % len(photos)]
            if photo not in opened:
                with Image.open(photo) as image:
                    opened[photo] = image.convert("RGB")
            encoded.append(EncodedPhoto(f"{photo.stem} as {name}", make(opened[photo])))
    return encoded


def compare(
    photos: Sequence[EncodedPhoto],
    transform: Transform,
    reference: Callable[[Pixels], tuple[Floats, Floats]],
    served: Predictor,
) -> PhotoParity:
    """Compares `served`, from the encoded bytes, with `reference`, from uint8[N,S,S,3] made by torchvision."""
    parts = []
    for start in range(0, len(photos), _BATCH_SIZE):
        contents = [photo.content for photo in photos[start : start + _BATCH_SIZE]]
        pixels = np.stack([reference_pixels(content, transform) for content in contents])
        parts.append((*reference(pixels), *served(contents)))
    return _figures(photos, *map(np.concatenate, zip(*parts, strict=True)))


def _figures(
    photos: Sequence[EncodedPhoto], scores: Floats, embeddings: Floats, served_scores: Floats, served: Floats
) -> PhotoParity:
    cosines = (embeddings * served).sum(axis=1)
    worst = int(cosines.argmin())
    unlike = embeddings @ embeddings.T
    unlike_mean = float(unlike[~np.eye(len(unlike), dtype=bool)].mean())
    is_clear = find_clear(scores)
    agrees = scores.argmax(axis=1) == served_scores.argmax(axis=1)
    return PhotoParity(
        photos=len(photos),
        encodings=len({photo.name.rpartition(" as ")[2] for photo in photos}),
        cosine_min=float(cosines[worst]),
        cosine_mean=float(cosines.mean()),
        worst=photos[worst].name,
        unlike_cosine_mean=unlike_mean,
        share_of_unlike=float((1 - cosines[worst]) / (1 - unlike_mean)),
        ties=int((~is_clear).sum()),
        top1_agreement=float(agrees[is_clear].mean()) if is_clear.any() else 1.0,
        top1_agreement_with_ties=float(agrees.mean()),
    )


def find_clear(scores: Floats) -> npt.NDArray[np.bool_]:
    """bool[N]: whether the two best of float32[N,C] scores differ by more than `TIE_SCORE`."""
    best_two = np.sort(scores, axis=1)[:, -2:]
    is_clear: npt.NDArray[np.bool_] = best_two[:, 1] - best_two[:, 0] > TIE_SCORE
    return is_clear


def require_parity(parity: PhotoParity, min_cosine: float, is_random: bool = False) -> None:
    """Checks the figures; for random weights, `MAX_RANDOM_SHARE` replaces `min_cosine`.

    Raises:
        VerificationError: a figure misses its limit; the message has the figure and the photo.
    """
    min_top1 = MIN_RANDOM_TOP1_AGREEMENT if is_random else MIN_TOP1_AGREEMENT
    # `not >=` instead of `<`: NaN must fail the check.
    if is_random and not parity.share_of_unlike <= MAX_RANDOM_SHARE:
        raise VerificationError(
            f"{parity.worst}: the distance between the served embedding and the reference is "
            f"{parity.share_of_unlike:.0%} of the distance between different photos, the limit is "
            f"{MAX_RANDOM_SHARE:.0%}. Nothing was placed."
        )
    if not is_random and not parity.cosine_min >= min_cosine:
        raise VerificationError(
            f"{parity.worst}: the served embedding has a cosine of {parity.cosine_min:.4f} to the reference, the limit "
            f"is {min_cosine:g} (mean over {parity.photos} photos: {parity.cosine_mean:.4f}). Nothing was placed."
        )
    if not parity.top1_agreement >= min_top1:
        raise VerificationError(
            f"The best class agrees with the reference for {parity.top1_agreement:.1%} of "
            f"{parity.photos - parity.ties} photos, the limit is {min_top1:.0%} ({parity.ties} of {parity.photos} "
            "photos are ties and not counted). Nothing was placed."
        )


def predict_photos(embedder_onnx: bytes, classifier_onnx: bytes, transform: Transform, configs: Configs) -> Predictor:
    """Encoded photos -> predictions, by the serving package's decoder and ONNX Runtime in this process."""
    limits = limits_of(configs["preprocess"])
    from_pixels = predict_pixels(embedder_onnx, classifier_onnx)
    return lambda contents: from_pixels(preprocess_all(contents, transform, limits))


def predict_pixels(embedder_onnx: bytes, classifier_onnx: bytes) -> Callable[[Pixels], tuple[Floats, Floats]]:
    """uint8[N,S,S,3] -> category_scores, embedding, by ONNX Runtime."""
    embedder, classifier = open_session(embedder_onnx), open_session(classifier_onnx)

    def answer(pixels: Pixels) -> tuple[Floats, Floats]:
        features, embedding = embedder.run(["features", "embedding"], {"pixels": pixels})
        (scores,) = classifier.run(["category_scores"], {"features": features})
        return scores, embedding

    return answer
