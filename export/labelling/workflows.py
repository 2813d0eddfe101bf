"""The labelling workflows: from a trained folder or a catalogue to tables and contact sheets."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from export.arrays import Doubles, Floats
from export.errors import CatalogueError, TrainingError
from export.evaluation.calibration import softmax
from export.evaluation.report import FIGURES
from export.labelling.contact_sheet import write_sheet, write_table
from export.labelling.selection import (
    find_label_issues,
    measure_few_shot,
    score_margins,
    select_confident,
    select_for_labelling,
)
from export.progress import step
from export.training.dataset.catalogue import PHOTO_SUFFIXES, read_catalogue
from export.training.dataset.split import TEST, TRAIN, split_rows
from export.training.features.cache import Features, extract_features
from export.training.features.extractor import open_feature_extractor
from export.training.heads.probe import require_same_backbone
from export.training.heads.trained_folder import PROBE, TrainedFolder, read_trained_folder


@dataclass(frozen=True)
class FeatureSource:
    """The model repository with the backbone, and the feature cache."""

    repository: Path
    cache: Path


def suggest_labels(
    trained: Path, photos: Path, attribute: str, count: int, output: Path, source: FeatureSource, console: Console
) -> dict[str, Any]:
    """Writes `suggested.csv`, with an empty label column, and `suggested.png`.

    Raises:
        TrainingError: the head does not exist.
        VerificationError: the head was trained on another backbone.
        CatalogueError: there are no photos.
    """
    known, files, features, scores = _score_photos(trained, photos, attribute, source, console)
    classes = known.heads[attribute].classes
    rows = select_for_labelling(scores, features, count)
    margins = score_margins(scores)
    table = [
        {
            "image": str(files[row].relative_to(photos)),
            attribute: "",
            "guess": classes[int(scores[row].argmax())],
            "score": f"{scores[row].max():.3f}",
            "margin": f"{margins[row]:.3f}",
        }
        for row in rows
    ]
    output.mkdir(parents=True, exist_ok=True)
    write_table(output / "suggested.csv", table, ("image", attribute, "guess", "score", "margin"))
    write_sheet(output / "suggested.png", [(photos / str(one["image"]), one["guess"], one["score"]) for one in table])
    console.print(
        f"Label these {len(table)} of {len(files)} photos next: fill in the column {attribute} of "
        f"{output / 'suggested.csv'} (photos: suggested.png), move the table into {photos}, and add its rows to the "
        "catalogue for the next training.",
        markup=False,
    )
    return {"suggested": len(table), "photos": len(files), "output": str(output)}


def auto_label(
    trained: Path,
    photos: Path,
    attribute: str,
    threshold: float | None,
    output: Path,
    source: FeatureSource,
    console: Console,
) -> dict[str, Any]:
    """Writes a table of the photos whose best score reaches the threshold.

    Raises:
        TrainingError: as `suggest_labels`; or training chose no threshold, and none is given.
        CatalogueError: there are no photos.
    """
    known, files, _, scores = _score_photos(trained, photos, attribute, source, console)
    classes = known.heads[attribute].classes
    chosen = threshold if threshold is not None else known.facts["attributes"][attribute].get("abstain_below")
    if chosen is None:
        raise TrainingError(
            f"{trained} has no threshold for {attribute}: no score reached the target precision on its validation "
            "photos. Train on more photos or with a lower --precision, or set --threshold and check the labels."
        )
    rows = select_confident(scores, chosen)
    table = [
        {
            "image": str(files[row].relative_to(photos)),
            attribute: classes[int(scores[row].argmax())],
            "score": f"{scores[row].max():.3f}",
        }
        for row in rows
    ]
    output.parent.mkdir(parents=True, exist_ok=True)
    write_table(output, table, ("image", attribute, "score"))
    expected = None if threshold is not None else _expected_error(known, attribute)
    error = "expected error unknown" if expected is None else f"expected error {expected}"
    console.print(
        f"Labelled {len(table)} of {len(files)} photos with a score of at least {chosen:.3f} in {output}; {error}.",
        markup=False,
    )
    return {"labelled": len(table), "photos": len(files), "threshold": chosen, "expected_error": expected}


def find_label_errors(
    catalogue: Path, attribute: str | None, output: Path, source: FeatureSource, console: Console
) -> dict[str, Any]:
    """Writes `label-errors.csv` and `label-errors.png`: labels that cross-validated heads contradict.

    Raises:
        CatalogueError: there are too few photos, or the attribute does not exist.
    """
    name, classes, files, targets, features = _read_labelled(catalogue, attribute, source, console)
    with step(console, f"Checking {len(targets)} labels"):
        rows, scores = find_label_issues(features, targets)
    table = [
        {
            "image": str(files[row]),
            "label": classes[targets[row]],
            "guess": classes[int(scores[row].argmax())],
            "label_score": f"{scores[row, targets[row]]:.3f}",
            "guess_score": f"{scores[row].max():.3f}",
        }
        for row in rows
    ]
    output.mkdir(parents=True, exist_ok=True)
    write_table(output / "label-errors.csv", table, ("image", "label", "guess", "label_score", "guess_score"))
    cells = [
        (files[row], f"{one['label']} ?", f"{one['guess']} {one['guess_score']}")
        for row, one in zip(rows, table, strict=True)
    ]
    write_sheet(output / "label-errors.png", cells)
    console.print(
        f"{len(table)} of {len(targets)} labels of {name} are probably wrong, the least plausible first: "
        f"{output / 'label-errors.csv'}, label-errors.png.",
        markup=False,
    )
    return {"label_errors": len(table), "photos": len(targets), "attribute": name}


def few_shot(
    catalogue: Path, attribute: str | None, shots: Sequence[int], draws: int, source: FeatureSource, console: Console
) -> dict[str, Any]:
    """Prints the accuracy of heads that are trained on a few photos per class; writes no files.

    Raises:
        CatalogueError: as `find_label_errors`.
    """
    name, classes, _, targets, features = _read_labelled(catalogue, attribute, source, console)
    labels = [{name: classes[target]} for target in targets]
    assigned = np.array(split_rows(labels, range(len(targets))))
    train, test = np.flatnonzero(assigned == TRAIN), np.flatnonzero(assigned == TEST)
    results = {}
    for count in shots:
        with console.status(f"{count} photos per class ..."):
            found = measure_few_shot(features[train], targets[train], features[test], targets[test], count, draws)
        low, high = np.percentile(found, (2.5, 97.5))
        results[count] = {"accuracy": float(np.mean(found)), "low": float(low), "high": float(high)}
        console.print(
            f"{count} photos per class: accuracy {np.mean(found):.3f} (95 % of {draws} draws: {low:.3f} to "
            f"{high:.3f}; {len(test)} test photos, {len(classes)} classes)"
        )
    return {"attribute": name, "shots": results}


def _score_photos(
    trained: Path, photos: Path, attribute: str, source: FeatureSource, console: Console
) -> tuple[TrainedFolder, list[Path], Floats, Doubles]:
    """The trained folder, the readable photos, their features float32[N,F] and scores float64[N,C]."""
    known = read_trained_folder(trained)
    if attribute not in known.heads:
        raise TrainingError(f"{trained} has no head {attribute!r}; expected one of {', '.join(known.heads)}.")
    found = sorted(path for path in photos.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not found:
        raise CatalogueError(f"{photos} contains no photo; expected files {' '.join(PHOTO_SUFFIXES)}.")
    extractor = open_feature_extractor(source.repository)
    require_same_backbone(known.tensors(PROBE), extractor.embed)
    features = _features(source, found, console)
    scores = softmax(known.heads[attribute].logits(features.served))
    return known, [found[row] for row in features.rows], features.served, scores


def _read_labelled(
    catalogue: Path, attribute: str | None, source: FeatureSource, console: Console
) -> tuple[str, list[str], list[Path], Any, Any]:
    read = read_catalogue(catalogue)
    name = attribute or read.attributes[0]
    if name not in read.attributes:
        raise CatalogueError(f"{catalogue} has no attribute {name!r}; expected one of {', '.join(read.attributes)}.")
    labelled = [row for row in read.rows if name in row.labels]
    features = _features(source, [row.photo for row in labelled], console)
    labels = [labelled[row].labels[name] for row in features.rows]
    classes = sorted(label for label, photos in Counter(labels).items() if photos > 1)
    number_of = {label: number for number, label in enumerate(classes)}
    kept = [number for number, label in enumerate(labels) if label in number_of]
    if len(classes) < 2:
        raise CatalogueError(f"{catalogue}: fewer than 2 classes of {name} have two readable photos. Add photos.")
    targets = np.array([number_of[labels[number]] for number in kept], np.int64)
    files = [labelled[features.rows[number]].photo for number in kept]
    return name, classes, files, targets, features.served[kept]


def _features(source: FeatureSource, photos: list[Path], console: Console) -> Features:
    found = extract_features(photos, 1, open_feature_extractor(source.repository), source.cache, console)
    for photo, reason in found.unreadable.items():
        console.print(f"note: {photo} is left out: {reason}", markup=False)
    return found


def _expected_error(known: TrainedFolder, attribute: str) -> str | None:
    """The error rate of test photos above the threshold, from the report."""
    file = known.folder / FIGURES
    if not file.is_file():
        return None
    answered = json.loads(file.read_text(encoding="utf-8"))["attributes"].get(attribute, {}).get("answered_test")
    if answered is None or answered["precision"]["value"] is None:
        return None
    precision = answered["precision"]
    return f"{1 - precision['value']:.1%} ({1 - precision['high']:.1%} to {1 - precision['low']:.1%})"
