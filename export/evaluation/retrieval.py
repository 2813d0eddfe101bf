"""Recall@k: share of photos with a photo of the same class among the k nearest by cosine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from export.evaluation.intervals import Estimate, estimate_share

KS = (1, 5, 10)
_ROWS_AT_ONCE = 1024


def recall_at(
    queries: npt.NDArray[np.floating[Any]],
    query_targets: npt.NDArray[np.int64],
    gallery: npt.NDArray[np.floating[Any]] | None = None,
    gallery_targets: npt.NDArray[np.int64] | None = None,
    ks: tuple[int, ...] = KS,
) -> dict[int, Estimate]:
    """Recall@k for each k.

    Queries whose class is not in the gallery (a class with one photo) are left out.

    Args:
        queries: float32[N,F], of any norm.
        query_targets: int64[N].
        gallery: float32[M,F]; None searches each query among the other queries.
        gallery_targets: int64[M].
        ks: numbers of neighbours; at most the size of the gallery counts.
    """
    leaves_one_out = gallery is None or gallery_targets is None
    if gallery is None or gallery_targets is None:
        gallery, gallery_targets = queries, query_targets
    held = np.bincount(gallery_targets, minlength=int(query_targets.max()) + 1)[query_targets]
    findable = np.flatnonzero(held >= (2 if leaves_one_out else 1))
    if not len(findable):
        return {k: estimate_share(0, 0) for k in ks}
    candidates = len(gallery) - leaves_one_out
    nearest = min(max(ks), candidates)
    normal_gallery = _normalise(gallery)
    ranks = np.empty(len(findable), dtype=np.int64)
    for start in range(0, len(findable), _ROWS_AT_ONCE):
        rows = findable[start : start + _ROWS_AT_ONCE]
        similarity = _normalise(queries[rows]) @ normal_gallery.T
        if leaves_one_out:
            similarity[np.arange(len(rows)), rows] = -np.inf
        found = np.argsort(-similarity, axis=1, kind="stable")[:, :nearest]
        hits = gallery_targets[found] == query_targets[rows][:, None]
        ranks[start : start + len(rows)] = np.where(hits.any(axis=1), hits.argmax(axis=1), nearest)
    return {k: estimate_share(int((ranks < min(k, nearest)).sum()), len(findable)) for k in ks}


def _normalise(features: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float32]:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    normal: npt.NDArray[np.float32] = (features / np.maximum(norms, 1e-12)).astype(np.float32)
    return normal
