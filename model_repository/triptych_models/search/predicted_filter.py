"""Which categories a search is restricted to: what was predicted for the photo, fused with a vote of its neighbours.

After Zhang et al., "Visual Search at Alibaba" (KDD 2018), section 3.1. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from triptych_models.errors import InvalidRequest

# Neighbours that vote, each with its cosine. See DECISIONS.md, "PredictedFilter a search".
VOTERS = 30
# The first categories that hold so much of what was fused are searched, at most so many.
COVER = 0.6
MAX_CATEGORIES = 3
MAX_PREDICTED = 64


@dataclass(frozen=True)
class PredictedFilter:
    """What was asked.

    Attributes:
        field: of the products, "category" for example.
        predicted: value of the field -> probability; empty where the neighbours decide alone.
    """

    field: str
    predicted: Mapping[str, float]


def parse_predicted_filter(asked: Any) -> PredictedFilter:
    """Raises:
    InvalidRequest: it is no such object.
    """
    if not isinstance(asked, dict) or not isinstance(asked.get("field"), str) or not asked["field"]:
        raise InvalidRequest('`narrow` is not as expected: {"field": "category", "predicted": {"Shoes": 0.7}}.')
    unknown = sorted(set(asked) - {"field", "predicted"})
    if unknown:
        raise InvalidRequest(f"`narrow` has the unknown key {unknown[0]!r}, expected only: field, predicted.")
    predicted = asked.get("predicted") or {}
    if not isinstance(predicted, dict) or len(predicted) > MAX_PREDICTED:
        raise InvalidRequest(f"`narrow.predicted` is no object of at most {MAX_PREDICTED} probabilities.")
    for name, score in predicted.items():
        if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
            raise InvalidRequest(f"`narrow.predicted` has {score!r} for {name!r}, expected a probability from 0 to 1.")
    return PredictedFilter(asked["field"], predicted)


def vote(field: str, neighbours: Iterable[tuple[Mapping[str, Any], float]]) -> dict[str, float]:
    """Value of the field -> share of the vote, of neighbours given as their fields and cosine."""
    votes: dict[str, float] = {}
    for fields, similarity in neighbours:
        value = fields.get(field)
        if isinstance(value, str):
            votes[value] = votes.get(value, 0.0) + max(0.0, similarity)
    return _shares(votes)


def choose(votes: Mapping[str, float], predicted: Mapping[str, float]) -> list[str]:
    """The categories to search, the likeliest first; `predicted` are those that the catalogue has."""
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
