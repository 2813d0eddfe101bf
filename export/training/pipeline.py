"""The training pipeline: a catalogue -> heads on features of the placed backbone -> a trained folder with a report."""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from safetensors.numpy import save

from export.evaluation.predictions import Predictions
from export.progress import step
from export.repository.configs import CHECKOUT_REPOSITORY
from export.repository.manifest import read_manifest
from export.training.dataset.catalogue import ReadingOptions
from export.training.dataset.preparation import PreparedCatalogue, photo_weights, prepare_catalogue, split_table
from export.training.dataset.refused import conclude
from export.training.dataset.rehearsal import Rehearsal, read_rehearsal
from export.training.dataset.split import DEFAULT_SHARES, SPLITS, TEST, TRAIN, VALIDATION
from export.training.dataset.tables import to_csv
from export.training.features.cache import extract_features
from export.training.features.extractor import FeatureExtractor, open_feature_extractor
from export.training.heads.fitting import Examples, Head, fit_head
from export.training.heads.probe import make_probe
from export.training.heads.trained_folder import (
    BACKBONE,
    METRICS,
    PROBE,
    REHEARSAL,
    SPLIT,
    UNREADABLE,
    head_files,
    require_free,
    write_trained_folder,
)
from export.training.incremental import DEFAULT_MARGIN, compare_heads, describe_change, refuse_regression
from export.training.reporting import Fitted, make_report

if TYPE_CHECKING:
    from export.training.tuning.backbone import TunedBackbone
    from export.training.tuning.loop import TuningSettings

DEFAULT_VIEWS = 1
_VERSIONED = ("scikit-learn", "optuna", "onnxruntime", "pillow", "numpy")


@dataclass(frozen=True)
class Settings:
    """Settings of one run of `train`.

    Attributes:
        views: views of each training photo; 1 is only the photo as served.
        search_minutes: time limit of the hyperparameter search of all heads together.
        shares: of training, validation and test photos.
        target_precision: precision of predictions above the abstention threshold, for each attribute.
        tuning: settings of the fine-tuning; None leaves the backbone unchanged.
        base: name and weights of the placed backbone, for fine-tuning; None are the defaults.
        previous: trained folder that incremental training starts from.
        margin: accuracy on its classes that may be lost.
        allow_regression: write the heads even if more accuracy is lost.
    """

    catalogue: Path
    output: Path
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    repository: Path = CHECKOUT_REPOSITORY
    cache: Path = CHECKOUT_REPOSITORY.parent / ".cache/features"
    views: int = DEFAULT_VIEWS
    search_minutes: float = 3.0
    trials: int = 12
    shares: tuple[float, float, float] = DEFAULT_SHARES
    seed: int = 0
    replace: bool = False
    target_precision: float = 0.95
    tuning: TuningSettings | None = None
    base: tuple[str | None, Path | None] = (None, None)
    previous: Path | None = None
    margin: float = DEFAULT_MARGIN
    allow_regression: bool = False


def train(settings: Settings, console: Console) -> dict[str, Any]:
    """Trains heads and writes the trained folder.

    Returns:
        A report for JSON.

    Raises:
        ExportError: the message has the reason and the next step; the output folder is unchanged.
    """
    started = time.monotonic()
    require_free(settings.output, settings.replace)
    extractor = open_feature_extractor(settings.repository)
    rehearsal = read_rehearsal(settings.previous, extractor) if settings.previous is not None else None
    extract = partial(
        extract_features, views=settings.views, extractor=extractor, folder=settings.cache, console=console
    )
    prepared = prepare_catalogue(
        settings.catalogue, settings.reading, extract, console, settings.shares, settings.seed, rehearsal
    )
    _print_summary(prepared, console)
    fitted = fit_all(prepared, settings, console)
    tuned = None
    if settings.tuning is not None:
        _print_accuracy(fitted, console)
        prepared, fitted, tuned = _tune(settings, prepared, fitted, extractor, console)
        extractor = tuned.extractor
    # Checked before the report, which takes minutes.
    changes = None if rehearsal is None else _compare_with(rehearsal, prepared, fitted, settings, console)
    title = f"{settings.output.name}: trained on {settings.catalogue.name}"
    report_facts = _report_facts(prepared, settings)
    report = make_report(fitted, extractor, title, report_facts, settings.target_precision, console)
    facts = _facts(settings, prepared, fitted, extractor, time.monotonic() - started)
    for name, evaluation in report.evaluations.items():
        facts["attributes"][name]["abstain_below"] = evaluation.threshold
    files = _files(prepared, fitted, extractor) | report.files
    if tuned is not None:
        facts |= {"tuning": tuned.history, "backbone": {"name": tuned.network.name, "embedder": extractor.digest}}
        files[BACKBONE] = tuned.network.state_file()
    if changes is not None:
        facts["continued"] = changes
    with step(console, "Writing"):
        write_trained_folder(settings.output, files, facts, settings.replace)
    if tuned is not None:
        tuned.remove_checkpoints()
    _print_accuracy(fitted, console)
    console.print(f"Wrote {settings.output}. Place it with: triptych build --heads {settings.output}", markup=False)
    refused = conclude(prepared.catalogue, prepared.refused, settings.output / UNREADABLE, console)
    seconds = time.monotonic() - started
    return {"trained": str(settings.output), "seconds": seconds, "metrics": facts["metrics"], **refused}


def _compare_with(
    rehearsal: Rehearsal,
    prepared: PreparedCatalogue,
    fitted: Mapping[str, Fitted],
    settings: Settings,
    console: Console,
) -> dict[str, Any]:
    """Prints the accuracy before and after; raises AccuracyRegression unless a regression is allowed."""
    changes = compare_heads(rehearsal, prepared, {name: one.head for name, one in fitted.items()})
    for attribute, change in changes.items():
        for sentence in describe_change(attribute, change):
            console.print(sentence, markup=False)
    if not settings.allow_regression:
        refuse_regression(changes, settings.margin)
    return {"from": settings.previous.name if settings.previous else None, "margin": settings.margin, **changes}


def _tune(
    settings: Settings,
    prepared: PreparedCatalogue,
    fitted: Mapping[str, Fitted],
    extractor: FeatureExtractor,
    console: Console,
) -> tuple[PreparedCatalogue, dict[str, Fitted], TunedBackbone]:
    """Fine-tunes the backbone, extracts features with it, and fits the heads again; splits and classes stay."""
    from export.training.tuning.backbone import tune_backbone

    assert settings.tuning is not None
    heads = {name: one.head for name, one in fitted.items()}
    tuned = tune_backbone(prepared, heads, extractor, settings.base, settings.tuning, settings.cache, console)
    photos = [row.photo for row in prepared.rows]
    features = extract_features(photos, settings.views, tuned.extractor, settings.cache, console)
    prepared = replace(prepared, features=replace(features, unreadable=prepared.features.unreadable))
    return prepared, fit_all(prepared, settings, console), tuned


def fit_all(prepared: PreparedCatalogue, settings: Settings, console: Console) -> dict[str, Fitted]:
    """Fits a head for each attribute; the search time is divided equally."""
    budget_s = 60 * settings.search_minutes / len(prepared.attributes)
    fitted = {}
    for attribute, classes in prepared.attributes.items():
        with step(console, f"Head {attribute}, {len(classes)} classes"):
            train_, validation = examples(prepared, attribute, TRAIN), examples(prepared, attribute, VALIDATION)
            head, search = fit_head(attribute, classes, train_, validation, budget_s, settings.trials, settings.seed)
            fitted[attribute] = Fitted(
                head, predict_split(prepared, head, VALIDATION), predict_split(prepared, head, TEST), search=search
            )
    return fitted


def examples(prepared: PreparedCatalogue, attribute: str, split: str) -> Examples:
    """The photos of one split with a known label, in all views."""
    rows = prepared.rows_of(attribute, split)
    weights = photo_weights(prepared.groups)[rows]
    return Examples(prepared.features.views[rows], prepared.targets(attribute)[rows], weights)


def predict_split(prepared: PreparedCatalogue, head: Head, split: str) -> Predictions:
    """Predictions of the head for the photos of one split, as served."""
    rows = prepared.rows_of(head.attribute, split)
    photos = tuple(prepared.rows[row].photo for row in rows)
    features = prepared.features.served[rows]
    targets = prepared.targets(head.attribute)[rows]
    return Predictions(head.attribute, head.classes, photos, targets, head.logits(features), features)


def _print_summary(prepared: PreparedCatalogue, console: Console) -> None:
    counts = ", ".join(f"{len(prepared.split.rows(split))} {split}" for split in SPLITS)
    console.print(
        f"{len(prepared.rows)} photos ({counts}), features of {prepared.features.computed} computed, the others cached."
    )
    duplicates = prepared.duplicates
    if duplicates["pairs"]:
        console.print(
            f"{duplicates['pairs']} pairs of near-duplicates, {duplicates['across_splits']} of them across splits: "
            f"{len(prepared.split.moved)} photos were moved into the split of their duplicates."
        )
    for notice in prepared.notices:
        console.print(f"note: {notice}", markup=False)


def _report_facts(prepared: PreparedCatalogue, settings: Settings) -> dict[str, object]:
    """Facts for the head of the report."""
    counts = {f"photos, {split}": len(prepared.split.rows(split)) for split in SPLITS}
    return {
        "catalogue": settings.catalogue.name,
        **counts,
        "unreadable photos": len(prepared.features.unreadable),
        "refused rows and photos": len(prepared.refused),
        "pairs of near-duplicates, each in one split": prepared.duplicates["pairs"],
        "seed": settings.seed,
        "notes": " ".join(prepared.notices) or "none",
    }


def _print_accuracy(fitted: Mapping[str, Fitted], console: Console) -> None:
    for attribute, one in fitted.items():
        console.print(
            f"{attribute}: {len(one.head.classes)} classes, validation {one.validation.accuracy}, "
            f"test {one.test.accuracy}."
        )


def _facts(
    settings: Settings,
    prepared: PreparedCatalogue,
    fitted: Mapping[str, Fitted],
    extractor: FeatureExtractor,
    seconds: float,
) -> dict[str, Any]:
    placed = read_manifest(settings.repository) or {}
    attributes = {
        name: {
            "classes": len(one.head.classes),
            "temperature": one.head.temperature,
            "search": one.search.best | {"trials": len(one.search.trials), "seconds": one.search.seconds},
        }
        for name, one in fitted.items()
    }
    return {
        "attributes": attributes,
        "metrics": {
            name: {"validation": one.validation.figures(), "test": one.test.figures()} for name, one in fitted.items()
        },
        "photos": {split: len(prepared.split.rows(split)) for split in SPLITS}
        | {"unreadable": len(prepared.features.unreadable)},
        "near_duplicates": prepared.duplicates | {"moved": len(prepared.split.moved)},
        "notices": list(prepared.notices),
        "backbone": {"name": placed.get("backbone", {}).get("name"), "embedder": extractor.digest},
        "catalogue": settings.catalogue.name,
        "options": {
            "views": settings.views,
            "seed": settings.seed,
            "shares": list(settings.shares),
            "search_minutes": settings.search_minutes,
        },
        "versions": {name: importlib.metadata.version(name) for name in _VERSIONED},
        "seconds": seconds,
    }


def _files(prepared: PreparedCatalogue, fitted: Mapping[str, Fitted], extractor: FeatureExtractor) -> dict[str, bytes]:
    metrics = {
        name: {
            "validation": one.validation.figures(),
            "test": one.test.figures(),
            "classes": one.test.recalls(),
            "trials": list(one.search.trials),
        }
        for name, one in fitted.items()
    }
    return {
        **head_files({name: one.head for name, one in fitted.items()}),
        METRICS: (json.dumps(metrics, indent=2, ensure_ascii=False) + "\n").encode(),
        SPLIT: split_table(prepared),
        UNREADABLE: to_csv(["photo", "why"], ([one.photo or f"row {one.row}", one.reason] for one in prepared.refused)),
        PROBE: save(make_probe(extractor, {name: one.head for name, one in fitted.items()})),
        # Of all photos as served, in the order of split.csv, for a later incremental training.
        REHEARSAL: save({"features": prepared.features.served.astype(np.float16)}),
    }
