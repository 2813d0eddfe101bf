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
from export.labelling.unlabelled import Unlabelled, find_unlabelled
from export.progress import step
from export.repository.writable import require_writable
from export.training.dataset.catalogue import Catalogue, ReadingOptions, read_catalogue
from export.training.dataset.refused import RefusedRow, conclude, refuse_unreadable
from export.training.dataset.split import TEST, TRAIN, split_rows
from export.training.features.cache import extract_features
from export.training.features.extractor import open_feature_extractor
from export.training.heads.probe import require_same_backbone
from export.training.heads.trained_folder import PROBE, TrainedFolder, read_trained_folder

# A table and its contact sheet.
_SHEET_BYTES = 5_000_000


@dataclass(frozen=True)
class FeatureSource:
    """The model repository with the backbone, and the feature cache."""

    repository: Path
    cache: Path


def suggest_labels(
    trained: Path, photos: Path, attribute: str, count: int, output: Path, source: FeatureSource, console: Console
) -> dict[str, Any]:
    """Writes `suggested.csv`, with an empty label column, and `suggested.png`; `refused.csv` if photos are unreadable.

    Raises:
        TrainingError: the head does not exist.
        VerificationError: the head was trained on another backbone.
        CatalogueError: there are no photos.
    """
    require_writable(output, _SHEET_BYTES, "--output")
    known = _trained_with(trained, attribute)
    found, features, scores = _score_photos(known, photos, attribute, source, console)
    classes, files = known.heads[attribute].classes, found.files
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
    refused = found.conclude(output / "refused.csv", console)
    return {"suggested": len(table), "photos": len(files), "output": str(output), **refused}


def auto_label(
    trained: Path,
    photos: Path,
    attribute: str,
    threshold: float | None,
    output: Path,
    source: FeatureSource,
    console: Console,
) -> dict[str, Any]:
    """Writes a table of the photos whose best score reaches the threshold; unreadable photos into one beside it.

    Raises:
        TrainingError: as `suggest_labels`; or training chose no threshold, and none is given.
        CatalogueError: there are no photos.
    """
    require_writable(output.parent, _SHEET_BYTES, "--output")
    known = _trained_with(trained, attribute)
    chosen = threshold if threshold is not None else known.facts["attributes"][attribute].get("abstain_below")
    if chosen is None:
        raise TrainingError(
            f"{trained} has no threshold for {attribute}: no score reached the target precision on its validation "
            "photos. Train on more photos or with a lower --precision, or set --threshold and check the labels."
        )
    found, _, scores = _score_photos(known, photos, attribute, source, console)
    classes, files = known.heads[attribute].classes, found.files
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
    report = {"labelled": len(table), "photos": len(files), "threshold": chosen, "expected_error": expected}
    return report | found.conclude(output.with_name(f"{output.stem}.refused.csv"), console)


def find_label_errors(
    catalogue: Path,
    attribute: str | None,
    output: Path,
    source: FeatureSource,
    console: Console,
    reading: ReadingOptions | None = None,
) -> dict[str, Any]:
    """Writes `label-errors.csv` and `label-errors.png`: labels that cross-validated heads contradict.

    Raises:
        CatalogueError: there are too few photos, or the attribute does not exist.
    """
    require_writable(output, _SHEET_BYTES, "--output")
    labelled = _read_labelled(catalogue, attribute, source, console, reading)
    name, classes, files, targets = labelled.attribute, labelled.classes, labelled.files, labelled.targets
    with step(console, f"Checking {len(targets)} labels"):
        rows, scores = find_label_issues(labelled.features, targets)
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
    refused = conclude(labelled.catalogue, labelled.refused, None, console)
    return {"label_errors": len(table), "photos": len(targets), "attribute": name, **refused}


def few_shot(
    catalogue: Path,
    attribute: str | None,
    shots: Sequence[int],
    draws: int,
    source: FeatureSource,
    console: Console,
    reading: ReadingOptions | None = None,
) -> dict[str, Any]:
    """Prints the accuracy of heads that are trained on a few photos per class.

    Raises:
        CatalogueError: as `find_label_errors`.
    """
    labelled = _read_labelled(catalogue, attribute, source, console, reading)
    name, classes, targets, features = labelled.attribute, labelled.classes, labelled.targets, labelled.features
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
    return {"attribute": name, "shots": results, **conclude(labelled.catalogue, labelled.refused, None, console)}


def _trained_with(trained: Path, attribute: str) -> TrainedFolder:
    known = read_trained_folder(trained)
    if attribute not in known.heads:
        raise TrainingError(f"{trained} has no head {attribute!r}; expected one of {', '.join(known.heads)}.")
    return known


def _score_photos(
    known: TrainedFolder, photos: Path, attribute: str, source: FeatureSource, console: Console
) -> tuple[Unlabelled, Floats, Doubles]:
    """The readable photos, their features float32[N,F] and scores float64[N,C]."""
    found = find_unlabelled(photos, console)
    extractor = open_feature_extractor(source.repository)
    require_same_backbone(known.tensors(PROBE), extractor.embed)
    features = extract_features(found.files, 1, extractor, source.cache, console)
    scores = softmax(known.heads[attribute].logits(features.served))
    return found.without(features.unreadable), features.served, scores


@dataclass(frozen=True)
class _Labelled:
    """Readable photos with a label of one attribute, of classes with two photos or more.

    Attributes:
        targets: int64[N], numbers of the classes.
        features: float32[N,F].
    """

    catalogue: Catalogue
    refused: tuple[RefusedRow, ...]
    attribute: str
    classes: list[str]
    files: list[Path]
    targets: Any
    features: Any


def _read_labelled(
    catalogue: Path,
    attribute: str | None,
    source: FeatureSource,
    console: Console,
    reading: ReadingOptions | None,
) -> _Labelled:
    read = read_catalogue(catalogue, reading)
    name = attribute or read.attributes[0]
    if name not in read.attributes:
        raise CatalogueError(f"{catalogue} has no attribute {name!r}; expected one of {', '.join(read.attributes)}.")
    for notice in read.notices:
        console.print(f"note: {notice}", markup=False)
    rows = [row for row in read.rows if name in row.labels]
    extractor = open_feature_extractor(source.repository)
    features = extract_features([row.photo for row in rows], 1, extractor, source.cache, console)
    labels = [rows[row].labels[name] for row in features.rows]
    classes = sorted(label for label, photos in Counter(labels).items() if photos > 1)
    number_of = {label: number for number, label in enumerate(classes)}
    kept = [number for number, label in enumerate(labels) if label in number_of]
    if len(classes) < 2:
        raise CatalogueError(f"{catalogue}: fewer than 2 classes of {name} have two readable photos. Add photos.")
    targets = np.array([number_of[labels[number]] for number in kept], np.int64)
    files = [rows[features.rows[number]].photo for number in kept]
    refused = (*read.refused, *refuse_unreadable(read, features.unreadable))
    return _Labelled(read, refused, name, classes, files, targets, features.served[kept])


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
