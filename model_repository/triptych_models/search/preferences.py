"""A shopper's preferences: the directions of their interests, computed from products, and diverse results.

Pure: no store and no tensors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from triptych_models.catalogue.records import Floats
from triptych_models.errors import InvalidRequest, quoted
from triptych_models.json_objects import parse_object, refuse_unknown
from triptych_models.search.limits import MAX_INTERESTS, MAX_PRODUCTS, MAX_WITHOUT
from triptych_models.search.vectors import unit

# Candidates for each interest and each place of a recommendation, from which diverse products are selected. All
# interests together get at most MAX_CANDIDATES, or k each: beyond 240 places, answers with much diversity differ.
POOL = 5
MAX_CANDIDATES = 1200
# A product of 64 rows with all vectors takes as long as 8 products of one row.
_BLOCK_ROWS = 64
_BLOCK_COST = 8
# The least weight beside the heaviest product: float32 has room for the products of such weights.
_LEAST_WEIGHT = 1e-6


@dataclass(frozen=True)
class Preferences:
    """The JSON of tensor `taste`.

    Attributes:
        weights: product_id -> weight above 0.
        without: products that are excluded from the results.
        interests: the most interests.
        apart: cosine below which two products belong to different interests.
        diversity: 0 returns the nearest products; higher values prefer products unlike those already selected
            (1 - lambda of MMR).
    """

    weights: dict[str, float]
    without: frozenset[str] = frozenset()
    interests: int = 3
    apart: float = 0.5
    diversity: float = 0.3


@dataclass(frozen=True)
class Interest:
    """A direction, float32[D] of L2 norm 1, and its share of the total weight."""

    direction: Floats
    share: float


def parse_preferences(text: bytes) -> Preferences:
    """Parses tensor `taste`.

    Raises:
        InvalidRequest: the text is not a valid object of preferences; the message names the key.
    """
    options = parse_object(text, "taste")
    weights = options.pop("weights", None)
    if not isinstance(weights, dict) or not 1 <= len(weights) <= MAX_PRODUCTS:
        raise InvalidRequest(
            f"`weights` of `taste` is invalid; expected an object of 1 to {MAX_PRODUCTS} products and their weights."
        )
    for product_id, weight in weights.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < 1e9:
            raise InvalidRequest(
                f"The weight of {quoted(product_id)} in `taste` is {quoted(weight)}; expected a number above 0."
            )
    without = options.pop("without", [])
    if not isinstance(without, list) or len(without) > MAX_WITHOUT or not all(isinstance(one, str) for one in without):
        raise InvalidRequest(f"`without` of `taste` is invalid; expected a list of at most {MAX_WITHOUT} product ids.")
    interests = options.pop("interests", Preferences.interests)
    if isinstance(interests, bool) or not isinstance(interests, int) or not 1 <= interests <= MAX_INTERESTS:
        raise InvalidRequest(
            f"`interests` of `taste` is {quoted(interests)}; expected a whole number from 1 to {MAX_INTERESTS}."
        )
    shares = {name: options.pop(name, getattr(Preferences, name)) for name in ("apart", "diversity")}
    for name, value in shares.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise InvalidRequest(f"`{name}` of `taste` is {quoted(value)}; expected a number from 0 to 1.")
    refuse_unknown(options, "taste", ("weights", "without", "interests", *shares))
    return Preferences(
        {name: float(weight) for name, weight in weights.items()}, frozenset(without), interests, **shares
    )


def find_interests(vectors: Floats, weights: Sequence[float], most: int, apart: float) -> list[Interest]:
    """The interests of float32[N,D] products, the heaviest interest first.

    Leader clustering: in order of falling weight, each product joins the nearest interest or starts a new one. A second
    pass assigns each product to the interest that is nearest then.
    """
    heaviest = max(weights)
    heavy = np.array([max(weight / heaviest, _LEAST_WEIGHT) for weight in weights], np.float32)
    order = np.argsort(-heavy, kind="stable")
    sums: list[Floats] = []
    directions: list[Floats] = []
    for row in order:
        scores = [float(vectors[row] @ one) for one in directions]
        if not scores or (max(scores) < apart and len(sums) < most):
            sums.append(heavy[row] * vectors[row])
            directions.append(unit(sums[-1]))
        else:
            at = int(np.argmax(scores))
            sums[at] = sums[at] + heavy[row] * vectors[row]
            directions[at] = unit(sums[at])
    nearest = (vectors @ np.stack(directions).T).argmax(axis=1)
    found = []
    for number in range(len(sums)):
        mine = nearest == number
        if mine.any():
            total = (heavy[mine, None] * vectors[mine]).sum(axis=0)
            found.append(Interest(unit(total), float(heavy[mine].sum() / heavy.sum())))
    return sorted(found, key=lambda one: -one.share)


def pool_size(k: int, interests: int) -> int:
    """The number of nearest photos that are candidates of each interest, for `k` places of all interests together."""
    return max(k, min(POOL * k, MAX_CANDIDATES // interests))


def diversify(
    relevance: Floats, vectors: Floats, interest: Sequence[int], shares: Sequence[float], k: int, diversity: float
) -> list[int]:
    """Positions of the selected candidates, in the order of selection.

    Each interest gets places in proportion to its share; the interest with the largest deficit is next. Of its
    candidates, the one with the highest (1 - diversity) * relevance - diversity * similarity to the nearest selected
    candidate is selected (Carbonell and Goldstein 1998, MMR).

    Args:
        relevance: float32[C], cosine with the candidate's interest.
        vectors: float32[C,D] of the candidates.
        interest: number of each candidate's interest.
        shares: share of each interest.
        k: the most candidates to select.
        diversity: 0 to 1.
    """
    candidates = [np.flatnonzero(np.asarray(interest) == number) for number in range(len(shares))]
    left = [len(rows) for rows in candidates]
    worth = (1 - diversity) * relevance
    likeness = Likeness(vectors, _BLOCK_ROWS if k * _BLOCK_COST > len(vectors) else 1)
    counts = [0] * len(shares)
    taken: list[int] = []
    while len(taken) < k and any(left):
        open_ = [number for number, rows in enumerate(left) if rows]
        number = max(open_, key=lambda one: shares[one] * (len(taken) + 1) - counts[one])
        rows = candidates[number]
        best = int(rows[(worth[rows] - diversity * likeness.nearest[rows]).argmax()])
        taken.append(best)
        worth[best] = -np.inf
        left[number], counts[number] = left[number] - 1, counts[number] + 1
        likeness.select(best)
    return taken


class Likeness:
    """Similarity of each vector to the nearest selected one: float32[C], 0 before the first selection.

    Args:
        vectors: float32[C,D], L2 norm 1.
        block_rows: vectors that are compared with all others at once, when the first of them is selected.
    """

    def __init__(self, vectors: Floats, block_rows: int) -> None:
        self._vectors = vectors
        self._block_rows = block_rows
        self._blocks: dict[int, Floats] = {}
        self.nearest = np.zeros(len(vectors), np.float32)

    def select(self, row: int) -> None:
        number, place = divmod(row, self._block_rows)
        if number not in self._blocks:
            start = number * self._block_rows
            self._blocks[number] = self._vectors[start : start + self._block_rows] @ self._vectors.T
        np.maximum(self.nearest, self._blocks[number][place], out=self.nearest)
