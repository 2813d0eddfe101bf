"""From an encoded photo to the answer: the code that is served against the reference, over every kind of file.

Owns: which photos in which encodings, the figures, their limits. What answers is passed in: in placing, the serving
package and ONNX Runtime; in the tests, a running server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from export.contract import Configs
from export.decoder import limits_of
from export.encodings import makers
from export.errors import VerificationError
from export.reference import Pixels, reference_pixels
from export.verification import open_session
from triptych_models.recognition.preprocessing import preprocess_all
from triptych_models.recognition.transform import Transform

# Each encoding is tried on this many of the photos, in turn.
PHOTOS_PER_ENCODING = 3

MIN_TOP1_AGREEMENT = 0.99

# Untrained filters weigh fine detail as much as shapes, and layer upon layer amplifies it: over ten architectures what
# decoding at a fraction of the size changes is 0.03 to 19 % of what another photo changes. So for random weights the
# measure is that share, and the limit one that another orientation, colour order or crop does not keep.
MAX_RANDOM_SHARE = 0.25
MIN_RANDOM_TOP1_AGREEMENT = 0.97

# Between two classes whose scores are closer than this the reference itself has no opinion: one grey level of one pixel
# decides. Such photos are counted, and left out of the agreement.
TIE_SCORE = 0.02

Floats = npt.NDArray[np.float32]
# Encoded photos -> category_scores float32[N,C], embedding float32[N,F].
Answer = Callable[[Sequence[bytes]], tuple[Floats, Floats]]


@dataclass(frozen=True)
class EncodedPhoto:
    """A photo as one file of the many it could be."""

    name: str
    content: bytes


@dataclass(frozen=True)
class PhotoParity:
    """Served answers against the reference.

    Attributes:
        cosine_min, cosine_mean: between the embedding served and the reference's, of the same photo.
        unlike_cosine_mean: between the reference's embeddings of different photos: what no agreement at all would give.
        share_of_unlike: the worst distance (1 - cosine) as a share of that between different photos.
        ties: photos whose two best reference scores are within `TIE_SCORE`.
        top1_agreement: share of the other photos whose best class is the reference's.
        top1_agreement_with_ties: the same share of all photos.
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

    def as_dict(self) -> dict[str, Any]:
        """Plain values for the manifest."""
        return asdict(self)


def encode_all(photos: Sequence[Path], per_encoding: int = PHOTOS_PER_ENCODING) -> list[EncodedPhoto]:
    """Every encoding of `per_encoding` photos, the photos taken in turn."""
    encoded = []
    opened: dict[Path, Image.Image] = {}
    for index, (name, make) in enumerate(makers().items()):
        # One huge photo takes as long as all the others together.
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
    served: Answer,
    batch: int = 8,
) -> PhotoParity:
    """Runs every photo both ways: `served` from its bytes, `reference` from uint8[N,S,S,3] made as torchvision does."""
    scores: list[Floats] = []
    embeddings: list[Floats] = []
    served_scores: list[Floats] = []
    served_embeddings: list[Floats] = []
    for start in range(0, len(photos), batch):
        contents = [photo.content for photo in photos[start : start + batch]]
        pixels = np.stack([reference_pixels(content, transform) for content in contents])
        for arrays, parts in (
            (reference(pixels), (scores, embeddings)),
            (served(contents), (served_scores, served_embeddings)),
        ):
            for array, part in zip(arrays, parts, strict=True):
                part.append(array)
    return _figures(photos, *map(np.concatenate, (scores, embeddings, served_scores, served_embeddings)))


def _figures(
    photos: Sequence[EncodedPhoto], scores: Floats, embeddings: Floats, served_scores: Floats, served: Floats
) -> PhotoParity:
    cosines = (embeddings * served).sum(axis=1)
    worst = int(cosines.argmin())
    unlike = embeddings @ embeddings.T
    unlike_mean = float(unlike[~np.eye(len(unlike), dtype=bool)].mean())
    best_two = np.sort(scores, axis=1)[:, -2:]
    is_clear = best_two[:, 1] - best_two[:, 0] > TIE_SCORE
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


def refuse_when_under(parity: PhotoParity, min_cosine: float, is_random: bool = False) -> None:
    """Random weights are held to `MAX_RANDOM_SHARE` instead of `min_cosine`.

    Raises:
        VerificationError: under a limit, with the figure and the photo.
    """
    min_top1 = MIN_RANDOM_TOP1_AGREEMENT if is_random else MIN_TOP1_AGREEMENT
    # `not >=` and not `<`: a NaN is a refusal too.
    if is_random and not parity.share_of_unlike <= MAX_RANDOM_SHARE:
        raise VerificationError(
            f"{parity.worst}: the served embedding is {parity.share_of_unlike:.0%} as far from the reference as "
            f"another photo's, the limit is {MAX_RANDOM_SHARE:.0%}. Nothing was placed."
        )
    if not is_random and not parity.cosine_min >= min_cosine:
        raise VerificationError(
            f"{parity.worst}: the served embedding has a cosine of {parity.cosine_min:.4f} to the reference, the limit "
            f"is {min_cosine:g} (mean over {parity.photos} photos: {parity.cosine_mean:.4f}). Nothing was placed."
        )
    if not parity.top1_agreement >= min_top1:
        raise VerificationError(
            f"The best class is the reference's for {parity.top1_agreement:.1%} of {parity.photos - parity.ties} "
            f"photos, the limit is {min_top1:.0%} ({parity.ties} photos of {parity.photos} are ties and not counted). "
            "Nothing was placed."
        )


def answer_photos(embedder_onnx: bytes, classifier_onnx: bytes, transform: Transform, configs: Configs) -> Answer:
    """What will be served, in this process: the serving package's decoder, and ONNX Runtime."""
    limits = limits_of(configs["preprocess"])
    from_pixels = answer_pixels(embedder_onnx, classifier_onnx)
    return lambda contents: from_pixels(preprocess_all(contents, transform, limits))


def answer_pixels(embedder_onnx: bytes, classifier_onnx: bytes) -> Callable[[Pixels], tuple[Floats, Floats]]:
    """uint8[N,S,S,3] -> category_scores, embedding, by ONNX Runtime."""
    embedder, classifier = open_session(embedder_onnx), open_session(classifier_onnx)

    def answer(pixels: Pixels) -> tuple[Floats, Floats]:
        features, embedding = embedder.run(["features", "embedding"], {"pixels": pixels})
        (scores,) = classifier.run(["category_scores"], {"features": features})
        return scores, embedding

    return answer
