"""`match`: whether a photo shows a product of the catalogue: digest, perceptual hash, embedding. Performs no I/O."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from triptych._core import catalogue
from triptych._core.search import Filter, Query, search_content, search_product
from triptych._core.session import Options, Session
from triptych._core.steps import Read, Steps, Work
from triptych._images.hashes import differing_bits, digest, perceptual_hash
from triptych.errors import InvalidInput, PermissionDenied, UnreadableImage
from triptych.results import Match, MatchDecision

if TYPE_CHECKING:
    from triptych._images.photo import ImageLike

# Photos of the catalogue that are compared.
_CANDIDATES = 20
# Evidence, strongest first.
_ORDER = {"digest": 0, "phash": 1, "embedding": 2}
# Below this cosine the embeddings contradict the perceptual hashes, and two photos are no copies (docs/decisions/0034).
_CONTRADICTED = 0.7


@dataclass(frozen=True)
class MatchThresholds:
    """The limits of a match; the defaults were measured on altered copies, see docs/decisions/0034.

    Attributes:
        match: cosine of the embeddings from which two photos show the same product.
        uncertain: cosine from which a person should decide.
        phash_bits: largest number of the 64 bits in which the perceptual hashes of a copy differ.
    """

    match: float = 0.94
    uncertain: float = 0.82
    phash_bits: int = 4

    def __post_init__(self) -> None:
        if not -1 <= self.uncertain <= self.match <= 1 or not 0 <= self.phash_bits <= 64:
            raise InvalidInput(f"{self!r}: expected -1 <= uncertain <= match <= 1 and phash_bits from 0 to 64.")


def decide(
    image_digest: str | None, phash: str | None, candidates: Sequence[Match], thresholds: MatchThresholds
) -> MatchDecision:
    """Decides by the strongest evidence: the same file, an altered copy of it, the embedding."""
    nearest, all_of_them = next(iter(candidates), None), tuple(candidates)
    if nearest is None:
        return MatchDecision("no_match", "the catalogue has nothing to compare with", "embedding", None)
    for each in candidates:
        if image_digest is not None and each.image_digest == image_digest:
            reason = f"the same file as photo {each.photo_id} of {each.product_id}"
            return MatchDecision("match", reason, "digest", each, all_of_them)
    # A hash of 64 bits alone confuses plain photos, so the embedding must not contradict the hash.
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


def match(
    session: Session,
    options: Options,
    image: ImageLike | None,
    product_id: str | None,
    conditions: Filter | None,
    thresholds: MatchThresholds | None,
) -> Steps[MatchDecision]:
    """Compares a photo, or a product of the catalogue, with the products of the catalogue."""
    if (image is None) is (product_id is None):
        raise InvalidInput("match was given a photo and a product_id, or neither; expected one of them.")
    query = Query(_CANDIDATES, conditions, group_by_product=False)
    chosen = thresholds or MatchThresholds()
    if product_id is not None:
        return (yield from _of_product(session, options, product_id, query, chosen))
    assert image is not None
    started_s = time.perf_counter()
    content = yield Read(image)
    found = yield from search_content(session, options, content, query, started_s)
    try:
        phash: str | None = yield Work(lambda: perceptual_hash(content))
    except UnreadableImage:  # a format that only the server decodes
        phash = None
    return decide(digest(content), phash, found.matches, chosen)


def _of_product(
    session: Session, options: Options, product_id: str, query: Query, thresholds: MatchThresholds
) -> Steps[MatchDecision]:
    found = yield from search_product(session, options, product_id, query)
    product = yield from _look_up(session, options, product_id)
    decisions = [
        decide(photo.image_digest, photo.phash, found.matches, thresholds)
        for photo in (product.photos if product else ())
    ]
    decisions.append(decide(None, None, found.matches, thresholds))
    return min(decisions, key=lambda decision: _ORDER[decision.method])


def _look_up(session: Session, options: Options, product_id: str) -> Steps[catalogue.Product | None]:
    """A product with its hashes, which only a client with the catalogue's key may read."""
    if session.catalogue_key is None:
        return None
    try:
        return (yield from catalogue.get(session, options, product_id))
    except PermissionDenied:
        return None
