"""How `match` goes: a search, the hashes of what is nearest, a decision. No I/O."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from triptych import catalogue_calls
from triptych.calls import Options, Read, Session, Steps, Work
from triptych.catalogue_calls import Product
from triptych.errors import InvalidInput, PermissionDenied, UnreadableImage
from triptych.matching import MatchThresholds, decide, digest, perceptual_hash
from triptych.results import Match, MatchDecision
from triptych.searching import Filter, Query, search_content, search_product

if TYPE_CHECKING:
    from triptych.photo import ImageLike

# Photos compared, and products whose hashes are asked for one by one where a search does not tell them.
_CANDIDATES = 20
_LOOKED_UP = 3
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
    candidates = yield from _with_hashes(session, options, found.matches)
    try:
        phash: str | None = yield Work(lambda: perceptual_hash(content))
    except UnreadableImage:  # of a format that only the server reads
        phash = None
    return decide(digest(content), phash, candidates, chosen)


def _of_product(
    session: Session, options: Options, product_id: str, query: Query, thresholds: MatchThresholds
) -> Steps[MatchDecision]:
    found = yield from search_product(session, options, product_id, query)
    product = yield from _look_up(session, options, product_id)
    candidates = yield from _with_hashes(session, options, found.matches)
    decisions = [
        decide(photo.image_digest, photo.phash, candidates, thresholds) for photo in (product.photos if product else ())
    ]
    decisions.append(decide(None, None, candidates, thresholds))
    return min(decisions, key=lambda decision: _ORDER[decision.method])


def _with_hashes(session: Session, options: Options, matches: tuple[Match, ...]) -> Steps[tuple[Match, ...]]:
    """The matches with digest and hash, which the catalogue tells to holders of its key alone."""
    known: dict[tuple[str, str], Match] = {}
    untold = [each.product_id for each in matches if each.image_digest is None]
    for product_id in list(dict.fromkeys(untold))[:_LOOKED_UP]:
        product = yield from _look_up(session, options, product_id)
        for photo in product.photos if product else ():
            for each in matches:
                if (each.product_id, each.photo_id) == (photo.product_id, photo.photo_id):
                    told = dataclasses.replace(each, image_digest=photo.image_digest, phash=photo.phash)
                    known[each.product_id, each.photo_id] = told
    return tuple(known.get((each.product_id, each.photo_id), each) for each in matches)


def _look_up(session: Session, options: Options, product_id: str) -> Steps[Product | None]:
    if session.catalogue_key is None:
        return None
    try:
        return (yield from catalogue_calls.get(session, options, product_id))
    except PermissionDenied:
        return None
