"""From an encoded photo to the answer: the code that is served against the reference, over every kind of file.

Owns: which photos in which encodings, the figures, their limits. What answers is passed in: in placing, the
repository's own `preprocessing.py` and ONNX Runtime; in the tests, a running server.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from export.backbones import PhotoTransform
from export.encodings import makers
from export.errors import VerificationError
from export.reference import Pixels, reference_pixels

# Each encoding is tried on this many of the photos, in turn.
PHOTOS_PER_ENCODING = 3

MIN_TOP1_AGREEMENT = 0.99
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
        ties: photos whose two best reference scores are within `TIE_SCORE`.
        top1_agreement: share of the other photos whose best class is the reference's.
    """

    photos: int
    encodings: int
    cosine_min: float
    cosine_mean: float
    worst: str
    unlike_cosine_mean: float
    ties: int
    top1_agreement: float

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
    transform: PhotoTransform,
    reference: Callable[[Pixels], tuple[Floats, Floats]],
    served: Answer,
    batch: int = 8,
) -> PhotoParity:
    """Runs every photo both ways.

    Args:
        reference: uint8[N,S,S,3] -> scores, embedding: the network in torch.
        served: encoded photos -> the same, by what is served.
    """
    scores, embeddings, served_scores, served_embeddings = [], [], [], []
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
    best_two = np.sort(scores, axis=1)[:, -2:]
    is_clear = best_two[:, 1] - best_two[:, 0] > TIE_SCORE
    agrees = scores.argmax(axis=1) == served_scores.argmax(axis=1)
    return PhotoParity(
        photos=len(photos),
        encodings=len({photo.name.rpartition(" as ")[2] for photo in photos}),
        cosine_min=float(cosines[worst]),
        cosine_mean=float(cosines.mean()),
        worst=photos[worst].name,
        unlike_cosine_mean=float(unlike[~np.eye(len(unlike), dtype=bool)].mean()),
        ties=int((~is_clear).sum()),
        top1_agreement=float(agrees[is_clear].mean()) if is_clear.any() else 1.0,
    )


def refuse_when_under(parity: PhotoParity, min_cosine: float) -> None:
    """Raises VerificationError: under a limit, with the figure and the photo."""
    # `not >=` and not `<`: a NaN is a refusal too.
    if not parity.cosine_min >= min_cosine:
        raise VerificationError(
            f"{parity.worst}: the served embedding has a cosine of {parity.cosine_min:.4f} to the reference, the limit "
            f"is {min_cosine:g} (mean over {parity.photos} photos: {parity.cosine_mean:.4f}). Nothing was placed."
        )
    if not parity.top1_agreement >= MIN_TOP1_AGREEMENT:
        raise VerificationError(
            f"The best class is the reference's for {parity.top1_agreement:.1%} of {parity.photos - parity.ties} photos, "
            f"the limit is {MIN_TOP1_AGREEMENT:.0%} ({parity.ties} photos of {parity.photos} are ties and not counted). "
            "Nothing was placed."
        )


def load_preprocessing(repository: Path) -> ModuleType:
    """The repository's own decoder, loaded from its file: it is what will be served."""
    file = repository / "preprocess/1/preprocessing.py"
    specification = importlib.util.spec_from_file_location("placed_preprocessing", file)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module
