"""Whether two photos show the same product: exact copy, altered copy, or near in the embedding. No I/O."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from triptych.errors import InvalidInput, UnreadableImage
from triptych.results import Match, MatchDecision

_SIDE_PX = 32
_KEPT = 8
# Cosine below which two photos are no copies whatever their hashes say; see DECISIONS.md.
_CONTRADICTED = 0.7


@dataclass(frozen=True)
class MatchThresholds:
    """Where a match begins; the defaults were measured on altered copies, see DECISIONS.md.

    Attributes:
        match: cosine of the embeddings from which two photos show the same product.
        uncertain: cosine from which a person should look.
        phash_bits: bits of 64 in which the perceptual hashes of altered copies differ at most.
    """

    match: float = 0.94
    uncertain: float = 0.82
    phash_bits: int = 4

    def __post_init__(self) -> None:
        if not -1 <= self.uncertain <= self.match <= 1 or not 0 <= self.phash_bits <= 64:
            raise InvalidInput(f"{self!r}: expected -1 <= uncertain <= match <= 1 and phash_bits from 0 to 64.")


def digest(content: bytes) -> str:
    """sha256 of the file, as hex."""
    return hashlib.sha256(content).hexdigest()


def perceptual_hash(content: bytes) -> str:
    """64 bits as hex that survive scaling and compression: the signs of the lowest frequencies of the grey photo.

    As `imagehash.phash`: grey, 32 x 32 (Lanczos), DCT-II, its 8 x 8 lowest against their median.

    Raises:
        UnreadableImage: the photo cannot be decoded here.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            image.draft("L", (4 * _SIDE_PX, 4 * _SIDE_PX))  # 1 ms instead of 1.8, for 2 bits in 2 of 20 photos
            grey = image.convert("L").resize((_SIDE_PX, _SIDE_PX), Image.Resampling.LANCZOS)
    except Exception as error:  # decoders raise what they like
        raise UnreadableImage(
            f"unreadable image: no perceptual hash can be made of it ({error}). Send a whole JPEG, PNG, WebP, GIF, BMP "
            "or TIFF file."
        ) from error
    basis = _cosines()
    low = basis @ np.asarray(grey, dtype=np.float64) @ basis.T
    bits = np.packbits((low > np.median(low)).ravel())
    return bits.tobytes().hex()


def differing_bits(one: str, other: str) -> int:
    """In how many bits two perceptual hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()


def decide(
    image_digest: str | None, phash: str | None, candidates: Sequence[Match], thresholds: MatchThresholds
) -> MatchDecision:
    """The first evidence that speaks: the same file, an altered copy of it, the embedding."""
    nearest, all_of_them = next(iter(candidates), None), tuple(candidates)
    if nearest is None:
        return MatchDecision("no_match", "the catalogue has nothing to compare with", "embedding", None)
    for each in candidates:
        if image_digest is not None and each.image_digest == image_digest:
            reason = f"the same file as photo {each.photo_id} of {each.product_id}"
            return MatchDecision("match", reason, "digest", each, all_of_them)
    # A hash of 64 bits alone confuses plain photos: the embedding must not contradict it.
    hashed = [
        (differing_bits(phash, each.phash), each)
        for each in candidates
        if phash is not None and each.phash and each.similarity >= _CONTRADICTED
    ]
    bits, copied = min(hashed, key=lambda pair: pair[0], default=(65, nearest))
    if bits <= thresholds.phash_bits:
        reason = f"a copy of photo {copied.photo_id} of {copied.product_id}: {bits} of 64 bits of the hash differ"
        return MatchDecision("match", reason, "phash", copied, all_of_them)
    return _by_embedding(nearest, all_of_them, thresholds)


def _by_embedding(nearest: Match, candidates: tuple[Match, ...], thresholds: MatchThresholds) -> MatchDecision:
    likeness = f"{nearest.product_id} is nearest, similarity {nearest.similarity:.3f}"
    if nearest.similarity >= thresholds.match:
        return MatchDecision("match", f"{likeness}, at least {thresholds.match:g}", "embedding", nearest, candidates)
    if nearest.similarity >= thresholds.uncertain:
        reason = f"{likeness}, between {thresholds.uncertain:g} and {thresholds.match:g}"
        return MatchDecision("uncertain", reason, "embedding", nearest, candidates)
    return MatchDecision("no_match", f"{likeness}, below {thresholds.uncertain:g}", "embedding", nearest, candidates)


def _cosines() -> npt.NDArray[np.float64]:
    """The lowest rows of the DCT-II matrix, `float64[8,32]`."""
    frequency, place = np.arange(_KEPT)[:, None], np.arange(_SIDE_PX)[None, :]
    cosines: npt.NDArray[np.float64] = np.cos(math.pi * frequency * (2 * place + 1) / (2 * _SIDE_PX))
    return cosines
