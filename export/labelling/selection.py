"""Selects photos to label, photos to label automatically, and probably wrong labels. Pure functions."""

from __future__ import annotations

import numpy as np

from export.arrays import AnyFloats, Integers

# Uncertain photos per requested photo that are clustered: fewer are too similar, more include confident ones.
_POOL = 10
# Folds of the cross-validation that finds label errors.
_FOLDS = 5


def select_for_labelling(scores: AnyFloats, features: AnyFloats, count: int) -> Integers:
    """Rows of uncertain and diverse photos, the most uncertain first.

    Clusters the most uncertain photos (least margin between the two best scores) and takes one of each cluster.
    Source: Zhdanov, "Diverse mini-batch active learning", 2019. The scores, float[N,C], are probabilities.
    """
    from sklearn.cluster import KMeans

    margins = score_margins(scores)
    uncertain = np.argsort(margins, kind="stable")[: _POOL * count]
    if len(uncertain) <= count:
        return uncertain
    directions = features[uncertain] / np.maximum(np.linalg.norm(features[uncertain], axis=1, keepdims=True), 1e-12)
    clusters = KMeans(count, n_init=4, random_state=0).fit_predict(directions)
    # `uncertain` is sorted, so the first photo of a cluster is its most uncertain one.
    _, first = np.unique(clusters, return_index=True)
    chosen: Integers = uncertain[np.sort(first)]
    return chosen


def score_margins(scores: AnyFloats) -> AnyFloats:
    """float[N]: difference between the best and the second best score."""
    best = np.sort(scores, axis=1)[:, -2:]
    apart: AnyFloats = best[:, 1] - best[:, 0]
    return apart


def select_confident(scores: AnyFloats, threshold: float) -> Integers:
    """Rows whose best score reaches the threshold, the most confident first."""
    best = scores.max(axis=1)
    rows = np.flatnonzero(best >= threshold)
    ordered: Integers = rows[np.argsort(-best[rows], kind="stable")]
    return ordered


def find_label_issues(features: AnyFloats, targets: Integers) -> tuple[Integers, AnyFloats]:
    """Rows whose label is probably wrong, the least plausible first, and the out-of-fold probabilities float[N,C].

    Uses confident learning (Northcutt, Jiang and Chuang, 2021) by cleanlab on cross-validated probabilities. Each
    class has at least two photos.
    """
    from cleanlab import filter as cleanlab_filter
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = max(2, min(_FOLDS, int(np.bincount(targets)[np.unique(targets)].min())))
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=300))
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    scores = cross_val_predict(head, features, targets, cv=split, method="predict_proba")
    rows = cleanlab_filter.find_label_issues(targets, scores, return_indices_ranked_by="self_confidence", n_jobs=1)
    return np.asarray(rows, np.int64), scores


def measure_few_shot(
    features: AnyFloats,
    targets: Integers,
    test_features: AnyFloats,
    test_targets: Integers,
    shots: int,
    draws: int,
) -> list[float]:
    """Accuracy on the test photos, float[M,F], of heads that are trained on `shots` photos per class, for each draw.

    A class with fewer photos uses all of them.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    found = []
    for _ in range(draws):
        rows = np.concatenate([_draw(np.flatnonzero(targets == each), shots, random) for each in np.unique(targets)])
        head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
        head.fit(features[rows], targets[rows])
        found.append(float(head.score(test_features, test_targets)))
    return found


def _draw(rows: Integers, count: int, random: np.random.Generator) -> Integers:
    return random.permutation(rows)[:count]
