"""Finds near-duplicate photos, which must be in the same split, and groups rows. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Pairs = npt.NDArray[np.int64]

# Resized or re-encoded copies have a higher cosine. 2,936 phone photos of groceries have 435 such pairs, each within
# one class (successive shots of one shelf); 3,409 clothing photos have 6, one with two labels. At 0.9, chains of 59
# form.
MIN_COSINE = 0.93

_ROWS_AT_ONCE = 1024


def find_near_duplicates(features: Floats, min_cosine: float = MIN_COSINE) -> Pairs:
    """int64[P,2]: pairs of rows of float32[N,F] with a cosine of at least `min_cosine`, the smaller row first."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(unit), _ROWS_AT_ONCE):
        cosines = unit[start : start + _ROWS_AT_ONCE] @ unit[start:].T
        left, right = np.nonzero(cosines >= min_cosine)
        above = left < right
        found.append(np.stack([left[above] + start, right[above] + start], axis=1))
    return np.concatenate(found)


def group_rows(count: int, products: Sequence[str | None], pairs: Iterable[Sequence[int]]) -> npt.NDArray[np.int64]:
    """int64[N]: the group of each row, numbered by its first row; pairs and products connect rows."""
    parents = list(range(count))

    def root(row: int) -> int:
        while parents[row] != row:
            parents[row] = parents[parents[row]]
            row = parents[row]
        return row

    def join(left: int, right: int) -> None:
        first, second = sorted((root(left), root(right)))
        parents[second] = first

    first_of: dict[str, int] = {}
    for row, product in enumerate(products):
        if product is not None:
            join(first_of.setdefault(product, row), row)
    for left, right in pairs:
        join(int(left), int(right))
    return np.array([root(row) for row in range(count)], np.int64)
