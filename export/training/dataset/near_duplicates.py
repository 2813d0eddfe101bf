"""Finds near-duplicate photos, which must be in the same split, and groups rows. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from export.arrays import Floats, Integers

# Resized or re-encoded copies have a higher cosine. 2,936 phone photos of groceries have 435 such pairs, each within
# one class (successive shots of one shelf); 3,409 clothing photos have 6, one with two labels. At 0.9, chains of 59
# form.
MIN_COSINE = 0.93

_ROWS_AT_ONCE = 1024


def find_near_duplicates(features: Floats, min_cosine: float = MIN_COSINE) -> Integers:
    """int64[P,2]: pairs of rows of float32[N,F] with a cosine of at least `min_cosine`, the smaller row first."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(unit), _ROWS_AT_ONCE):
        cosines = unit[start : start + _ROWS_AT_ONCE] @ unit[start:].T
        left, right = np.nonzero(cosines >= min_cosine)
        above = left < right
        found.append(np.stack([left[above] + start, right[above] + start], axis=1))
    return np.concatenate(found)


def group_rows(products: Sequence[str | None], pairs: Iterable[Sequence[int]]) -> Integers:
    """int64[N]: the group of each row, numbered by its first row; pairs and products connect rows."""
    first_of: dict[str, int] = {}
    same = [(first_of.setdefault(name, row), row) for row, name in enumerate(products) if name is not None]
    left, right = np.array([*same, *pairs], np.int64).reshape(-1, 2).T
    links = coo_array((np.ones(len(left)), (left, right)), shape=(len(products), len(products)))
    _, components = connected_components(links, directed=False)
    _, first = np.unique(components, return_index=True)
    groups: Integers = first[components]
    return groups
