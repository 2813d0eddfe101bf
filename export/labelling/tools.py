"""The tools: a trained folder or a catalogue in, tables to fill in and sheets to look at out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from export.contract import TEMPLATE
from export.evaluation.calibration import softmax
from export.evaluation.report import FIGURES
from export.labelling.choosing import doubt, margin, measure_few_shot, suggest, sure_enough
from export.labelling.sheets import write_sheet, write_table
from export.progress import step
from export.training.catalogue import PHOTO_SUFFIXES, Reading, read_catalogue
from export.training.errors import CatalogueError, TrainingError
from export.training.eye import open_eye
from export.training.features import FeatureCache, Features
from export.training.heads import Head
from export.training.probe import refuse_other_backbone
from export.training.split import TEST, TRAIN, split_rows
from export.training.trained import PROBE, Trained, read_trained


@dataclass(frozen=True)
class Place:
    """Where the backbone is, and where features are kept."""

    repository: Path = TEMPLATE
    cache: Path = TEMPLATE.parent / ".cache/features"


def suggest_labels(
    trained: Path, photos: Path, attribute: str, count: int, output: Path, place: Place, console: Console
) -> dict[str, Any]:
    """Writes `suggested.csv`, with an empty column to fill in, and `suggested.png`.

    Raises:
        TrainingError: no such head, or it is for another backbone.
        CatalogueError: no photos.
    """
    head, files, features = _look(trained, photos, attribute, place, console)
    scores = softmax(head.logits(features.served))
    rows = suggest(scores, features.served, count)
    margins = margin(scores)
    table = [
        {
            "image": str(files[row].relative_to(photos)),
            attribute: "",
            "guess": head.classes[int(scores[row].argmax())],
            "score": f"{scores[row].max():.3f}",
            "margin": f"{margins[row]:.3f}",
        }
        for row in rows
    ]
    output.mkdir(parents=True, exist_ok=True)
    write_table(output / "suggested.csv", table, ("image", attribute, "guess", "score", "margin"))
    write_sheet(output / "suggested.png", [(photos / str(one["image"]), one["guess"], one["score"]) for one in table])
    console.print(
        f"{len(table)} of {len(files)} photos would teach it most: fill in the column {attribute} of "
        f"{output / 'suggested.csv'} (photos: suggested.png), put the table beside {photos}, and train on it with the "
        "others.",
        markup=False,
    )
    return {"suggested": len(table), "photos": len(files), "output": str(output)}


def auto_label(
    trained: Path, photos: Path, attribute: str, threshold: float | None, output: Path, place: Place, console: Console
) -> dict[str, Any]:
    """Writes a table of the photos whose best score reaches the threshold that training chose.

    Raises:
        TrainingError: as `suggest_labels`; or training chose no threshold, and none is named.
        CatalogueError: no photos.
    """
    head, files, features = _look(trained, photos, attribute, place, console)
    known = read_trained(trained)
    chosen = threshold if threshold is not None else known.facts["attributes"][attribute].get("abstain_below")
    if chosen is None:
        raise TrainingError(
            f"{trained} has no threshold for {attribute}: no score was right often enough on its validation photos. "
            "Train on more photos, or for a lower --precision; or name one with --threshold, and check its labels."
        )
    scores = softmax(head.logits(features.served))
    rows = sure_enough(scores, chosen)
    table = [
        {
            "image": str(files[row].relative_to(photos)),
            attribute: head.classes[int(scores[row].argmax())],
            "score": f"{scores[row].max():.3f}",
        }
        for row in rows
    ]
    output.parent.mkdir(parents=True, exist_ok=True)
    write_table(output, table, ("image", attribute, "score"))
    expected = None if threshold is not None else _expected_error(known, attribute)
    said = "how many are wrong is not known" if expected is None else f"expect {expected} of them wrong"
    console.print(
        f"{len(table)} of {len(files)} photos have a score of {chosen:.3f} or more and a label in {output}; {said}.",
        markup=False,
    )
    return {"labelled": len(table), "photos": len(files), "threshold": chosen, "expected_error": expected}


def find_label_errors(
    catalogue: Path, attribute: str | None, output: Path, place: Place, console: Console
) -> dict[str, Any]:
    """Writes `doubtful.csv` and `doubtful.png`: labels that heads which have not seen the photo contradict.

    Raises:
        CatalogueError: nothing to compare, or no such attribute.
    """
    name, classes, files, targets, features = _read_labelled(catalogue, attribute, place, console)
    with step(console, f"Doubting {len(targets)} labels"):
        rows, scores = doubt(features, targets)
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
    write_table(output / "doubtful.csv", table, ("image", "label", "guess", "label_score", "guess_score"))
    cells = [
        (files[row], f"{one['label']} ?", f"{one['guess']} {one['guess_score']}")
        for row, one in zip(rows, table, strict=True)
    ]
    write_sheet(output / "doubtful.png", cells)
    console.print(
        f"{len(table)} of {len(targets)} labels of {name} are doubtful, the most doubtful first: "
        f"{output / 'doubtful.csv'}, doubtful.png.",
        markup=False,
    )
    return {"doubtful": len(table), "photos": len(targets), "attribute": name}


def few_shot(
    catalogue: Path, attribute: str | None, shots: Sequence[int], draws: int, place: Place, console: Console
) -> dict[str, Any]:
    """Tells how right heads would be that learn from a few photos a class; nothing is written.

    Raises:
        CatalogueError: as `find_label_errors`.
    """
    name, classes, _, targets, features = _read_labelled(catalogue, attribute, place, console)
    labels = [{name: classes[target]} for target in targets]
    sides = np.array(split_rows(labels, range(len(targets))))
    train, test = np.flatnonzero(sides == TRAIN), np.flatnonzero(sides == TEST)
    told = {}
    with Progress(console=console, transient=True) as progress:
        for count in shots:
            task = progress.add_task(f"{count} photos a class", total=draws)
            found = measure_few_shot(
                features[train], targets[train], features[test], targets[test], count, draws,
                on_draw=lambda done, task=task: progress.update(task, completed=done),  # type: ignore[misc]
            )  # fmt: skip
            low, high = np.percentile(found, (2.5, 97.5))
            told[count] = {"accuracy": float(np.mean(found)), "low": float(low), "high": float(high)}
    for count, one in told.items():
        console.print(
            f"{count} photos a class: {one['accuracy']:.3f} right (middle 95 % of {draws} draws: {one['low']:.3f} to "
            f"{one['high']:.3f}; {len(test)} test photos, {len(classes)} classes)"
        )
    return {"attribute": name, "shots": told}


def _look(
    trained: Path, photos: Path, attribute: str, place: Place, console: Console
) -> tuple[Head, list[Path], Features]:
    known = read_trained(trained)
    if attribute not in known.heads:
        raise TrainingError(f"{trained} has no head {attribute!r}; expected one of {', '.join(known.heads)}.")
    found = sorted(path for path in photos.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES)
    if not found:
        raise CatalogueError(f"There is no photo in {photos}; expected files {' '.join(PHOTO_SUFFIXES)}.")
    eye = open_eye(place.repository)
    refuse_other_backbone(known.tensors(PROBE), eye.embed)
    features = _features(place, found, console)
    return known.heads[attribute], [found[row] for row in features.rows], features


def _read_labelled(
    catalogue: Path, attribute: str | None, place: Place, console: Console
) -> tuple[str, list[str], list[Path], Any, Any]:
    read = read_catalogue(catalogue, Reading())
    name = attribute or read.attributes[0]
    if name not in read.attributes:
        raise CatalogueError(f"{catalogue} has no attribute {name!r}; expected one of {', '.join(read.attributes)}.")
    labelled = [row for row in read.rows if name in row.labels]
    features = _features(place, [row.photo for row in labelled], console)
    labels = [labelled[row].labels[name] for row in features.rows]
    classes = sorted(label for label, photos in Counter(labels).items() if photos > 1)
    number_of = {label: number for number, label in enumerate(classes)}
    kept = [number for number, label in enumerate(labels) if label in number_of]
    if len(classes) < 2:
        raise CatalogueError(f"{catalogue}: fewer than 2 classes of {name} have two photos that can be read.")
    targets = np.array([number_of[labels[number]] for number in kept], np.int64)
    files = [labelled[features.rows[number]].photo for number in kept]
    return name, classes, files, targets, features.served[kept]


def _features(place: Place, photos: list[Path], console: Console) -> Features:
    cache = FeatureCache(place.cache, open_eye(place.repository))
    try:
        with Progress(console=console, transient=True) as progress, step(console, f"Features of {len(photos)} photos"):
            task = progress.add_task("Features", total=len(photos))
            found = cache.read(photos, 1, lambda done, total: progress.update(task, completed=done))
    finally:
        cache.close()
    for photo, why in found.unreadable.items():
        console.print(f"note: {photo} is left out: {why}", markup=False)
    return found


def _expected_error(known: Trained, attribute: str) -> str | None:
    """What the report says of the test photos above the threshold."""
    file = known.folder / FIGURES
    if not file.is_file():
        return None
    answered = json.loads(file.read_text(encoding="utf-8"))["attributes"].get(attribute, {}).get("answered_test")
    if answered is None or answered["precision"]["value"] is None:
        return None
    precision = answered["precision"]
    return f"{1 - precision['value']:.1%} ({1 - precision['high']:.1%} to {1 - precision['low']:.1%})"
