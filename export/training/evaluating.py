"""Evaluates a trained folder on labelled photos: the figures and the report of `train`, without photos it used."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from export.arrays import Floats
from export.errors import CatalogueError, TrainingError
from export.evaluation.intervals import Estimate
from export.evaluation.predictions import Predictions
from export.evaluation.report import FIGURES, REPORT
from export.folder_replacement import replace_folder
from export.progress import step
from export.repository.configs import CHECKOUT_REPOSITORY
from export.repository.writable import require_writable
from export.training.dataset.catalogue import Catalogue, ReadingOptions, Row, key_of, read_catalogue, shorten
from export.training.dataset.near_duplicates import find_near_duplicates
from export.training.dataset.refused import RefusedRow, conclude, printable_path, refuse_unreadable, sentence_of
from export.training.dataset.rehearsal import Rehearsal, read_rehearsal
from export.training.dataset.split import TEST, TRAIN, VALIDATION
from export.training.dataset.tables import to_csv
from export.training.features.cache import Features, extract_features
from export.training.features.extractor import open_feature_extractor
from export.training.heads.fitting import Head
from export.training.heads.trained_folder import FACTS
from export.training.reporting import Measured, make_report

UNUSED, NEAR_DUPLICATE = "unused", "near-duplicate"
REFUSED = "refused.csv"
_REPORT_BYTES = 5_000_000
_DEFAULT_PRECISION = 0.95


@dataclass(frozen=True)
class Settings:
    """Settings of one run of `evaluate`; `output` is the folder of the report."""

    trained: Path
    catalogue: Path
    output: Path
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    repository: Path = CHECKOUT_REPOSITORY
    cache: Path = CHECKOUT_REPOSITORY.parent / ".cache/features"
    replace: bool = False


def evaluate_trained(settings: Settings, console: Console) -> dict[str, Any]:
    """Measures each head whose attribute the catalogue has, and writes the report.

    Returns:
        A report for JSON.

    Raises:
        ExportError: the message has the reason and the next step; the output folder is unchanged.
    """
    _require_free(settings.output, settings.replace)
    require_writable(settings.output, _REPORT_BYTES, "--output")
    extractor = open_feature_extractor(settings.repository)
    training = read_rehearsal(settings.trained, extractor)
    with step(console, "Reading the catalogue"):
        catalogue = read_catalogue(settings.catalogue, settings.reading, min_classes=1, is_for_training=False)
    catalogue = _test_photos(catalogue)
    features = extract_features([row.photo for row in catalogue.rows], 1, extractor, settings.cache, console)
    rows = [catalogue.rows[row] for row in features.rows]
    uses = find_uses(features.digests, features.served, training)
    counts = Counter(uses)
    notices = [*catalogue.notices, *_describe_left_out(features, counts)]
    measured = {
        name: _measure(head, rows, features.served, uses, training, notices)
        for name, head in training.trained.heads.items()
        if name in catalogue.attributes
    }
    for notice in notices:
        console.print(f"note: {notice}", markup=False)
    _require_photos(settings, catalogue.attributes, training, measured, counts)
    refused = (*catalogue.refused, *refuse_unreadable(catalogue, features.unreadable))
    facts = {**_facts(settings, features, counts), "notes": " ".join(notices) or "none"}
    title = f"{settings.trained.resolve().name}: evaluated on {settings.catalogue.resolve().name}"
    report = make_report(measured, extractor, title, facts, _target_precision(settings.trained), console)
    if report.files:
        _write(settings.output, {**report.files, **_refused_file(refused)})
    _print_result(measured, training, settings.output if report.files else None, console)
    return {
        "output": str(settings.output) if report.files else None,
        "photos": {use: counts[use] for use in (UNUSED, TRAIN, VALIDATION, NEAR_DUPLICATE)}
        | {"unreadable": len(features.unreadable)},
        "metrics": {name: {**one.test.figures(), "classes": one.test.recalls()} for name, one in measured.items()},
        **conclude(catalogue, refused, settings.output / REFUSED if report.files else None, console),
    }


def _test_photos(catalogue: Catalogue) -> Catalogue:
    """The test photos of a catalogue that names its splits; the catalogue as it is if it has no test photos."""
    test = tuple(row for row in catalogue.rows if row.split in (TEST, None))
    if len(test) == len(catalogue.rows) or not any(row.split == TEST for row in test):
        return catalogue
    notice = (
        f"Evaluated are {len(test)} photos: the {len(catalogue.rows) - len(test)} that the catalogue's splits keep for "
        "training and validation are left out."
    )
    return replace(catalogue, rows=test, notices=(*catalogue.notices, notice))


def _refused_file(refused: Sequence[RefusedRow]) -> dict[str, bytes]:
    rows = [[one.photo or f"row {one.row}", sentence_of(one)] for one in refused]
    return {REFUSED: to_csv(["photo", "why"], rows)} if rows else {}


def _print_result(measured: Mapping[str, Measured], training: Rehearsal, output: Path | None, console: Console) -> None:
    for name, one in measured.items():
        before = _as_estimate(training.trained.facts["metrics"][name]["test"])
        console.print(f"{name}: accuracy {one.test.accuracy}; on the test photos of the training {before}.")
    if output is not None:
        console.print(f"Wrote {output / REPORT} and {FIGURES} beside it.", markup=False)
    else:
        console.print("No report: the training had no validation photos of these attributes.")


def find_uses(digests: Sequence[bytes], features: Floats, training: Rehearsal) -> list[str]:
    """How the training used each photo: `train`, `validation`, `near-duplicate` of such a photo, or `unused`.

    Its test photos are unused; `train` has kept them apart from near-duplicates.

    Args:
        digests: SHA-256 of each photo.
        features: float32[N,F].
        training: the photos of the training.
    """
    splits = dict(zip(training.digests, (row.split or TRAIN for row in training.rows), strict=True))
    used = [number for number, row in enumerate(training.rows) if row.split != TEST]
    pairs = find_near_duplicates(np.concatenate([features, training.features[used]]))
    alike = set(pairs[(pairs[:, 0] < len(features)) & (pairs[:, 1] >= len(features)), 0].tolist())
    uses = []
    for number, digest in enumerate(digests):
        other = NEAR_DUPLICATE if number in alike else UNUSED
        split = splits.get(digest, other)
        uses.append(UNUSED if split == TEST else split)
    return uses


def _describe_left_out(features: Features, counts: Mapping[str, int]) -> list[str]:
    notices = []
    if features.unreadable:
        names = shorten([printable_path(str(photo)) for photo in features.unreadable])
        notices.append(f"{len(features.unreadable)} photos cannot be read and are left out: {names}.")
    if counts.keys() - {UNUSED}:
        total = sum(counts.values())
        notices.append(
            f"Left out are {total - counts[UNUSED]} of {total} photos: {counts[TRAIN]} were used for training, "
            f"{counts[VALIDATION]} for validation, {counts[NEAR_DUPLICATE]} are near-duplicates of these."
        )
    return notices


def _measure(
    head: Head, rows: Sequence[Row], features: Floats, uses: Sequence[str], training: Rehearsal, notices: list[str]
) -> Measured:
    """Predictions for the unused photos with a known label, and for the validation photos of the training."""
    unused = [number for number, use in enumerate(uses) if use == UNUSED]
    test, unknown = _predict(head, [rows[number] for number in unused], features[unused])
    if unknown:
        notices.append(
            f"{head.attribute}: {unknown.total()} photos have labels that the head does not know and are left out: "
            f"{shorten(sorted(unknown))}."
        )
    held_out = [number for number, row in enumerate(training.rows) if row.split == VALIDATION]
    validation, _ = _predict(head, [training.rows[number] for number in held_out], training.features[held_out])
    threshold = training.trained.facts["attributes"][head.attribute].get("abstain_below")
    return Measured(head, validation, test, threshold)


def _predict(head: Head, rows: Sequence[Row], features: Floats) -> tuple[Predictions, Counter[str]]:
    """Predictions for the rows with a label of the head, and the number of rows of each other label."""
    number_of = {key_of(label): number for number, label in enumerate(head.classes)}
    labels = [row.labels.get(head.attribute) for row in rows]
    known = [row for row, label in enumerate(labels) if label is not None and key_of(label) in number_of]
    unknown = Counter(label for label in labels if label is not None and key_of(label) not in number_of)
    targets = np.array([number_of[key_of(labels[row] or "")] for row in known], np.int64)
    photos = tuple(rows[row].photo for row in known)
    kept = features[known]
    return Predictions(head.attribute, head.classes, photos, targets, head.logits(kept), kept), unknown


def _require_photos(
    settings: Settings,
    attributes: Sequence[str],
    training: Rehearsal,
    measured: Mapping[str, Measured],
    counts: Mapping[str, int],
) -> None:
    if not measured:
        raise CatalogueError(
            f"{settings.catalogue} has labels of {', '.join(attributes)}; {settings.trained} has heads of "
            f"{', '.join(training.trained.heads)}. Name the label column as the head."
        )
    if not any(len(one.test) for one in measured.values()):
        raise CatalogueError(
            f"{settings.catalogue} has no photo to evaluate: {counts[UNUSED]} of "
            f"{sum(counts.values())} readable photos were not used for training, and none of these has a label that "
            "the heads know. Name other labelled photos."
        )


def _facts(settings: Settings, features: Features, counts: Mapping[str, int]) -> dict[str, object]:
    """Facts for the head of the report."""
    return {
        "trained folder": settings.trained.resolve().name,
        "catalogue": settings.catalogue.resolve().name,
        "photos that were not used for training": counts[UNUSED],
        "left out: photos of the training": counts[TRAIN],
        "left out: photos of its validation": counts[VALIDATION],
        "left out: near-duplicates of these": counts[NEAR_DUPLICATE],
        "unreadable photos": len(features.unreadable),
    }


def _as_estimate(figures: Mapping[str, Any]) -> Estimate:
    low, high = figures["interval"] or (None, None)
    return Estimate(figures["accuracy"], low, high, figures["photos"])


def _target_precision(trained: Path) -> float:
    """That of the training, from its report."""
    file = trained / FIGURES
    if not file.is_file():
        return _DEFAULT_PRECISION
    attributes = json.loads(file.read_text(encoding="utf-8"))["attributes"]
    return float(next(iter(attributes.values()))["target_precision"])


def _require_free(output: Path, replace: bool) -> None:
    """Raises TrainingError if the folder has content that may not be replaced."""
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not (output / FIGURES).is_file() or (output / FACTS).exists():
        raise TrainingError(f"{output} exists and is not a report of `evaluate`. Name another folder with --output.")
    if not replace:
        raise TrainingError(f"{output} exists. Name another folder with --output, or replace it with --replace.")


def _write(output: Path, files: Mapping[str, bytes]) -> None:
    try:
        replace_folder(output, files)
    except OSError as error:
        raise TrainingError(
            f"{output} cannot be written ({error.strerror or error}). Free some disk space, or name another folder "
            "with --output."
        ) from error
