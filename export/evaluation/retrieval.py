"""Recall@k: share of photos with a photo of the same class among the k nearest by cosine."""

from __future__ import annotations

import numpy as np

from export.arrays import AnyFloats, Floats, Integers
from export.evaluation.intervals import Estimate, estimate_share

KS = (1, 5, 10)
_ROWS_AT_ONCE = 1024


def recall_at(features: AnyFloats, targets: Integers, ks: tuple[int, ...] = KS) -> dict[int, Estimate]:
    """Recall@k for each k, of each photo among the others; a class with one photo is left out.

    Args:
        features: float32[N,F], of any norm.
        targets: int64[N].
        ks: numbers of neighbours; at most the number of other photos counts.
    """
    findable = np.flatnonzero(np.bincount(targets)[targets] >= 2)
    if not len(findable):
        return {k: estimate_share(0, 0) for k in ks}
    nearest = min(max(ks), len(features) - 1)
    normal: Floats = (features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)).astype(np.float32)
    ranks = np.empty(len(findable), dtype=np.int64)
    for start in range(0, len(findable), _ROWS_AT_ONCE):
        rows = findable[start : start + _ROWS_AT_ONCE]
        similarity = normal[rows] @ normal.T
        similarity[np.arange(len(rows)), rows] = -np.inf
        found = np.argsort(-similarity, axis=1, kind="stable")[:, :nearest]
        hits = targets[found] == targets[rows][:, None]
        ranks[start : start + len(rows)] = np.where(hits.any(axis=1), hits.argmax(axis=1), nearest)
    return {k: estimate_share(int((ranks < min(k, nearest)).sum()), len(findable)) for k in ks}
