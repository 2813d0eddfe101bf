"""The predicted filter: categories that a search is restricted to, from predictions and a vote of the nearest photos.

After Zhang et al., "Visual Search at Alibaba" (KDD 2018), section 3.1. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from triptych_models.errors import InvalidRequest, quoted
from triptych_models.search.limits import MAX_PREDICTED

# Nearest photos that vote, each weighted by its cosine. See docs/decisions/0042.
VOTERS = 30
# The search covers the likeliest categories up to this share of the combined probability, and at most this many.
COVER = 0.6
MAX_CATEGORIES = 3


@dataclass(frozen=True)
class PredictedFilter:
    """A predicted filter of a request (JSON key `narrow`).

    Attributes:
        field: a field of the products, "category" for example.
        predicted: value of the field -> probability; empty where only the nearest photos vote.
    """

    field: str
    predicted: Mapping[str, float]


def parse_predicted_filter(options: Any) -> PredictedFilter:
    """Parses key `narrow` of a query.

    Raises:
        InvalidRequest: the value is not a valid predicted filter.
    """
    if not isinstance(options, dict) or not isinstance(options.get("field"), str) or not options["field"]:
        raise InvalidRequest('`narrow` is invalid; expected {"field": "category", "predicted": {"Shoes": 0.7}}.')
    unknown = sorted(set(options) - {"field", "predicted"})
    if unknown:
        raise InvalidRequest(f"`narrow` has the unknown key {quoted(unknown[0])}; expected only: field, predicted.")
    predicted = options.get("predicted")
    predicted = {} if predicted is None else predicted
    if not isinstance(predicted, dict) or len(predicted) > MAX_PREDICTED:
        raise InvalidRequest(
            f"`narrow.predicted` is invalid; expected an object of at most {MAX_PREDICTED} probabilities."
        )
    for name, score in predicted.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise InvalidRequest(
                f"`narrow.predicted` has {quoted(score)} for {quoted(name)}; expected a probability from 0 to 1."
            )
    return PredictedFilter(options["field"], predicted)


def vote(field: str, neighbours: Iterable[tuple[Mapping[str, Any], float]]) -> dict[str, float]:
    """Value of the field -> share of the votes; `neighbours` are fields and cosine of the nearest photos."""
    votes: dict[str, float] = {}
    for fields, similarity in neighbours:
        value = fields.get(field)
        if isinstance(value, str):
            votes[value] = votes.get(value, 0.0) + max(0.0, similarity)
    return _shares(votes)


def choose(votes: Mapping[str, float], predicted: Mapping[str, float]) -> list[str]:
    """The categories to search, the likeliest first; `predicted` has only categories that the catalogue has."""
    shares = _shares(predicted)
    parts = [part for part in (votes, shares) if part]
    fused = {name: math.fsum(part.get(name, 0.0) for part in parts) / len(parts) for part in parts for name in part}
    chosen: list[str] = []
    covered = 0.0
    for name in sorted(fused, key=lambda name: (-fused[name], name))[:MAX_CATEGORIES]:
        chosen.append(name)
        covered += fused[name]
        if covered >= COVER:
            break
    return chosen


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = math.fsum(weights.values())
    return {name: weight / total for name, weight in weights.items() if weight > 0} if total > 0 else {}
