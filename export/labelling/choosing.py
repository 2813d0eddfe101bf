"""Which photos say most when they are labelled, which may be labelled by machine, which labels are doubtful. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Rows = npt.NDArray[np.int64]

# As many uncertain photos as this for each that is asked for are spread over: fewer are alike, more are sure.
_POOL = 10
# Of the probabilities that labels are doubted by.
_FOLDS = 5


def suggest(scores: Floats, features: Floats, count: int, seed: int = 0) -> Rows:
    """Uncertain photos that differ from each other, the most uncertain first.

    The most uncertain (least margin between the two best scores) are clustered; of each cluster the most uncertain.
    Source: Zhdanov, "Diverse mini-batch active learning", 2019.

    Args:
        scores: float[N,C], probabilities.
        features: float[N,F].
        count: how many.
        seed: of the clusters.
    """
    from sklearn.cluster import KMeans

    margins = margin(scores)
    uncertain = np.argsort(margins, kind="stable")[: _POOL * count]
    if len(uncertain) <= count:
        return uncertain
    directions = features[uncertain] / np.maximum(np.linalg.norm(features[uncertain], axis=1, keepdims=True), 1e-12)
    clusters = KMeans(count, n_init=4, random_state=seed).fit_predict(directions)
    # `uncertain` is sorted, so the first of a cluster is its most uncertain.
    _, first = np.unique(clusters, return_index=True)
    chosen: Rows = uncertain[np.sort(first)]
    return chosen


def margin(scores: Floats) -> Floats:
    """float[N]: how far the best score is above the second."""
    best = np.sort(scores, axis=1)[:, -2:]
    apart: Floats = best[:, 1] - best[:, 0]
    return apart


def sure_enough(scores: Floats, threshold: float) -> Rows:
    """Rows whose best score reaches the threshold, the surest first."""
    best = scores.max(axis=1)
    rows = np.flatnonzero(best >= threshold)
    ordered: Rows = rows[np.argsort(-best[rows], kind="stable")]
    return ordered


def doubt(features: Floats, targets: Rows, seed: int = 0) -> tuple[Rows, Floats]:
    """Rows whose label is probably wrong, the most doubtful first, and the out-of-fold probabilities float[N,C].

    Confident learning (Northcutt, Jiang and Chuang, 2021) by cleanlab, on probabilities of heads that have not seen the
    photo.

    Args:
        features: float[N,F].
        targets: int64[N]; each class has two photos or more.
        seed: of the folds.
    """
    from cleanlab.filter import find_label_issues
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = max(2, min(_FOLDS, int(np.bincount(targets)[np.unique(targets)].min())))
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=300))
    split = StratifiedKFold(folds, shuffle=True, random_state=seed)
    scores = cross_val_predict(head, features, targets, cv=split, method="predict_proba")
    rows = find_label_issues(targets, scores, return_indices_ranked_by="self_confidence", n_jobs=1)
    return np.asarray(rows, np.int64), scores


def measure_few_shot(
    features: Floats,
    targets: Rows,
    test_features: Floats,
    test_targets: Rows,
    shots: int,
    draws: int,
    seed: int = 0,
    on_draw: Callable[[int], None] = lambda done: None,
) -> list[float]:
    """Accuracy of a head on `shots` photos a class, for so many draws of them.

    Args:
        features: float[N,F] to draw from.
        targets: int64[N].
        test_features: float[M,F].
        test_targets: int64[M].
        shots: of each class; all where there are fewer.
        draws: how often.
        seed: of the draws.
        on_draw: told how many are done.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(seed)
    found = []
    for number in range(draws):
        rows = np.concatenate([_draw(np.flatnonzero(targets == each), shots, random) for each in np.unique(targets)])
        head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        head.fit(features[rows], targets[rows])
        found.append(float(head.score(test_features, test_targets)))
        on_draw(number + 1)
    return found


def _draw(rows: Rows, count: int, random: np.random.Generator) -> Rows:
    return random.permutation(rows)[:count]
