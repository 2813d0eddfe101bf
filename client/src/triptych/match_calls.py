"""How `match` goes: a search, which tells the hashes of what is nearest, and a decision. No I/O."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from triptych import catalogue_calls
from triptych.calls import Options, Read, Session, Steps, Work
from triptych.catalogue_calls import Product
from triptych.errors import InvalidInput, PermissionDenied, UnreadableImage
from triptych.matching import MatchThresholds, decide, digest, perceptual_hash
from triptych.results import MatchDecision
from triptych.searching import Filter, Query, search_content, search_product

if TYPE_CHECKING:
    from triptych.photo import ImageLike

# Photos compared.
_CANDIDATES = 20
_ORDER = {"digest": 0, "phash": 1, "embedding": 2}


def match(
    session: Session,
    options: Options,
    image: ImageLike | None,
    product_id: str | None,
    conditions: Filter | None,
    thresholds: MatchThresholds | None,
) -> Steps[MatchDecision]:
    """Of a photo, or of a product in the catalogue with the others."""
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
    except UnreadableImage:  # of a format that only the server reads
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


def _look_up(session: Session, options: Options, product_id: str) -> Steps[Product | None]:
    """A product with its own hashes, which holders of the catalogue's key alone may read."""
    if session.catalogue_key is None:
        return None
    try:
        return (yield from catalogue_calls.get(session, options, product_id))
    except PermissionDenied:
        return None
