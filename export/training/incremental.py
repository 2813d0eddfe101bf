"""Incremental training (`train --from`): compares the new heads with the previous ones on the old classes.

Refuses heads that lose more accuracy than the margin allows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from export.errors import AccuracyRegression
from export.training.dataset.preparation import PreparedCatalogue
from export.training.dataset.rehearsal import Rehearsal
from export.training.dataset.split import TEST, VALIDATION
from export.training.heads.fitting import Head

# Loss of accuracy on the old classes: 0.02 is one photo of 50.
DEFAULT_MARGIN = 0.02


def compare_heads(rehearsal: Rehearsal, prepared: PreparedCatalogue, after: Mapping[str, Head]) -> dict[str, Any]:
    """Accuracy before and after for each old attribute, in total and per class.

    Measured on the test photos of the previous training, which neither head was fitted on, with their old labels; on
    its validation photos if there are no test photos.
    """
    before = rehearsal.trained.heads
    return {
        name: _compare_head(head, rehearsal, prepared, after[name]) for name, head in before.items() if name in after
    }


def _compare_head(before: Head, rehearsal: Rehearsal, prepared: PreparedCatalogue, after: Head) -> dict[str, Any]:
    known = set(before.classes)
    labels = [row.labels.get(before.attribute, "") for row in rehearsal.rows]
    now = dict(zip(prepared.features.digests, prepared.split.assigned, strict=True))
    for split in (TEST, VALIDATION):
        # A near-duplicate in the new catalogue may have moved a photo into the training split.
        rows = [n for n, digest in enumerate(rehearsal.digests) if labels[n] in known and now[digest] == split]
        if rows:
            break
    truth = np.array([labels[row] for row in rows])
    features = rehearsal.features[rows]
    correct = {
        when: np.array(head.classes)[head.logits(features).argmax(axis=1)] == truth
        for when, head in (("before", before), ("after", after))
    }
    classes = {
        label: {
            "photos": int((truth == label).sum()),
            **{when: float(hits[truth == label].mean()) for when, hits in correct.items()},
        }
        for label in sorted(set(truth.tolist()))
    }
    return {
        "photos": len(rows),
        "side": split,
        **{when: float(hits.mean()) if len(rows) else None for when, hits in correct.items()},
        "classes": classes,
        "new_classes": sorted(set(after.classes) - known),
    }


def describe_change(attribute: str, change: Mapping[str, Any]) -> list[str]:
    """Lines for the user: total accuracy, new classes, and classes whose accuracy changed."""
    if not change["photos"]:
        return [f"{attribute}: no photo of the old classes to compare."]
    lines = [
        f"{attribute}: accuracy {change['before']:.3f} before, {change['after']:.3f} after, on {change['photos']} "
        f"{change['side']} photos of the old classes; new classes: {', '.join(change['new_classes']) or 'none'}."
    ]
    moved = {label: one["after"] - one["before"] for label, one in change["classes"].items()}
    for label in sorted(moved, key=lambda one: moved[one]):
        if moved[label]:
            one = change["classes"][label]
            lines.append(f"    {label}: {one['before']:.2f} -> {one['after']:.2f} ({one['photos']} photos)")
    return lines


def refuse_regression(changes: Mapping[str, Any], margin: float) -> None:
    """Raises AccuracyRegression if an attribute lost more than `margin` of accuracy on its old classes."""
    for attribute, change in changes.items():
        if change["photos"] and change["before"] - change["after"] > margin:
            raise AccuracyRegression(
                f"{attribute}: the accuracy on {change['photos']} {change['side']} photos of the old classes is "
                f"{change['after']:.3f}, before {change['before']:.3f}; the margin is {margin:g}. Nothing was written. "
                "Check the labels of the new photos, raise --margin, or pass --allow-regression."
            )
