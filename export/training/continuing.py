"""`train --from`: what an earlier training knew, and what became of it.

Owns: the photos it is rehearsed on (their features are in the trained folder; the photos may be gone by now), the
comparison class by class, and the refusal of heads that forgot.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export.training.catalogue import Row
from export.training.errors import TrainingError, WorseThanBefore
from export.training.eye import Eye
from export.training.heads import Floats, Head
from export.training.preparation import Prepared
from export.training.probe import refuse_other_backbone
from export.training.split import TEST, VALIDATION
from export.training.trained import PROBE, REHEARSAL, SPLIT, Trained, read_trained

# In points of accuracy on the classes that were known: a photo of 50.
DEFAULT_MARGIN = 0.02


@dataclass(frozen=True)
class Remembered:
    """Photos of an earlier training.

    Attributes:
        rows: with their labels and sides.
        features: float32[N,F].
        digests: sha256 of each photo.
    """

    trained: Trained
    rows: tuple[Row, ...]
    features: Floats
    digests: tuple[bytes, ...]


def remember(folder: Path, eye: Eye) -> Remembered:
    """What the trained folder knows, for a backbone that sees as it did then.

    Raises:
        TrainingError: it is no trained folder, or damaged.
        VerificationError: it was trained on another backbone.
    """
    trained = read_trained(folder)
    refuse_other_backbone(trained.tensors(PROBE), eye.embed)
    lines = list(csv.DictReader((folder / SPLIT).read_text(encoding="utf-8").splitlines()))
    features = np.asarray(trained.tensors(REHEARSAL)["features"], np.float32)
    if len(lines) != len(features):
        raise TrainingError(f"{folder}: {SPLIT} has {len(lines)} photos, {REHEARSAL} {len(features)}. Train it again.")
    rows = tuple(
        Row(
            Path(line["photo"]),
            {name: line[name] for name in trained.heads if line.get(name)},
            split=line["split"],
        )
        for line in lines
    )
    return Remembered(trained, rows, features, tuple(bytes.fromhex(line["sha256"]) for line in lines))


def compare(remembered: Remembered, prepared: Prepared, after: Mapping[str, Head]) -> dict[str, Any]:
    """For each attribute that was known: accuracy before and after, and the same class by class.

    Measured on the test photos of the earlier training, which neither head was fitted on, with the labels they had; on
    its validation photos where there are none.
    """
    before = remembered.trained.heads
    return {name: _compare(head, remembered, prepared, after[name]) for name, head in before.items() if name in after}


def _compare(before: Head, remembered: Remembered, prepared: Prepared, after: Head) -> dict[str, Any]:
    known = set(before.classes)
    labels = [row.labels.get(before.attribute, "") for row in remembered.rows]
    now = dict(zip(prepared.features.digests, prepared.split.sides, strict=True))
    for side in (TEST, VALIDATION):
        # A near-duplicate in the new catalogue may have moved a photo to where it is learned from.
        rows = [n for n, digest in enumerate(remembered.digests) if labels[n] in known and now[digest] == side]
        if rows:
            break
    truth = np.array([labels[row] for row in rows])
    features = remembered.features[rows]
    right = {
        when: np.array(head.classes)[head.logits(features).argmax(axis=1)] == truth
        for when, head in (("before", before), ("after", after))
    }
    classes = {
        label: {
            "photos": int((truth == label).sum()),
            **{when: float(hits[truth == label].mean()) for when, hits in right.items()},
        }
        for label in sorted(set(truth.tolist()))
    }
    return {
        "photos": len(rows),
        "side": side,
        **{when: float(hits.mean()) if len(rows) else None for when, hits in right.items()},
        "classes": classes,
        "new_classes": sorted(set(after.classes) - known),
    }


def describe(attribute: str, change: Mapping[str, Any]) -> list[str]:
    """Sentences for a person: the whole, what is new, and the classes that lost or gained."""
    if not change["photos"]:
        return [f"{attribute}: no photo of the old classes to compare on."]
    told = [
        f"{attribute}: {change['before']:.3f} before, {change['after']:.3f} now on {change['photos']} {change['side']} "
        f"photos of the old classes; new: {', '.join(change['new_classes']) or 'none'}."
    ]
    moved = {label: one["after"] - one["before"] for label, one in change["classes"].items()}
    for label in sorted(moved, key=lambda one: moved[one]):
        if moved[label]:
            one = change["classes"][label]
            told.append(f"    {label}: {one['before']:.2f} -> {one['after']:.2f} ({one['photos']} photos)")
    return told


def refuse_worse(changes: Mapping[str, Any], margin: float) -> None:
    """Raises WorseThanBefore where an attribute lost more than `margin` on its old classes."""
    for attribute, change in changes.items():
        if change["photos"] and change["before"] - change["after"] > margin:
            raise WorseThanBefore(
                f"{attribute} is right on {change['after']:.3f} of {change['photos']} {change['side']} photos of the "
                f"classes it knew, before on {change['before']:.3f}; the margin is {margin:g}. Nothing was published. "
                "Look at the new photos' labels, widen --margin, or say --publish-worse."
            )
