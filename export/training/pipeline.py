"""`train`: a catalogue -> heads over the placed backbone's features -> a trained folder with everything measured."""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from safetensors.numpy import save

from export.contract import TEMPLATE
from export.placement import read_manifest
from export.progress import step
from export.training.catalogue import Reading
from export.training.continuing import DEFAULT_MARGIN, Remembered, compare, refuse_worse, remember
from export.training.continuing import describe as describe_change
from export.training.eye import Eye, open_eye
from export.training.features import FeatureCache
from export.training.heads import Examples, Head, Search, fit_head
from export.training.judging import Answers, answer, describe
from export.training.preparation import Prepared, photo_weights, prepare, split_table, unreadable_table
from export.training.probe import make_probe
from export.training.reporting import Report, make_report
from export.training.split import DEFAULT_SHARES, SPLITS, TEST, TRAIN, VALIDATION
from export.training.trained import (
    BACKBONE,
    METRICS,
    PROBE,
    REHEARSAL,
    SPLIT,
    UNREADABLE,
    head_files,
    require_free,
    write_trained,
)

if TYPE_CHECKING:
    from export.training.backbone_tuning import TunedBackbone
    from export.training.tuning import Tuning

DEFAULT_VIEWS = 1
_VERSIONED = ("scikit-learn", "optuna", "onnxruntime", "pillow", "numpy")


@dataclass(frozen=True)
class Settings:
    """What one run of `train` was asked for.

    Attributes:
        views: of each photo that heads are fitted on; 1 is the photo as served alone.
        search_minutes: for the hyper-parameters of all heads together.
        shares: of train, validation and test.
        target_precision: of the answers above the threshold that is chosen for each attribute.
        tuning: how the backbone is tuned; None leaves it as it is.
        base: name and weights of the placed backbone, to tune it; None are the defaults.
        previous: the trained folder that is continued.
        margin: accuracy on its classes that may be lost.
        publish_worse: write it also where more was lost.
    """

    catalogue: Path
    output: Path
    reading: Reading = field(default_factory=Reading)
    repository: Path = TEMPLATE
    cache: Path = TEMPLATE.parent / ".cache/features"
    views: int = DEFAULT_VIEWS
    search_minutes: float = 3.0
    trials: int = 12
    shares: tuple[float, float, float] = DEFAULT_SHARES
    seed: int = 0
    replace: bool = False
    target_precision: float = 0.95
    tuning: Tuning | None = None
    base: tuple[str | None, Path | None] = (None, None)
    previous: Path | None = None
    margin: float = DEFAULT_MARGIN
    publish_worse: bool = False


@dataclass(frozen=True)
class Fitted:
    """One attribute, learned and measured."""

    head: Head
    search: Search
    validation: Answers
    test: Answers


def train(settings: Settings, console: Console) -> dict[str, Any]:
    """Trains heads and publishes the trained folder.

    Returns:
        What was done, ready for JSON.

    Raises:
        ExportError: what was wrong and what to do next; the output folder is as it was.
    """
    started = time.monotonic()
    require_free(settings.output, settings.replace)
    eye = open_eye(settings.repository)
    remembered = remember(settings.previous, eye) if settings.previous is not None else None
    prepared = _prepare(settings, eye, remembered, console)
    _tell(prepared, console)
    fitted = fit_all(prepared, settings, console)
    tuned = None
    if settings.tuning is not None:
        _summarise(fitted, console)
        prepared, fitted, tuned = _tune(settings, prepared, fitted, eye, console)
        eye = tuned.eye
    # Before minutes go into the report: heads that forgot are refused.
    changes = None if remembered is None else _compare_with(remembered, prepared, fitted, settings, console)
    report = _report(settings, prepared, fitted, eye, console)
    facts = _facts(settings, prepared, fitted, eye, time.monotonic() - started)
    for name, evaluation in report.evaluations.items():
        facts["attributes"][name]["abstain_below"] = evaluation.threshold
    files = _files(prepared, fitted, eye) | report.files
    if tuned is not None:
        facts |= {"tuning": tuned.history, "backbone": {"name": tuned.network.name, "embedder": eye.digest}}
        files[BACKBONE] = tuned.network.state_file()
    if changes is not None:
        facts["continued"] = changes
    with step(console, "Writing"):
        write_trained(settings.output, files, facts, settings.replace)
    if tuned is not None:
        tuned.forget()
    _summarise(fitted, console)
    console.print(
        f"Trained {settings.output}. Serve it: python -m export place --heads {settings.output}", markup=False
    )
    return {"trained": str(settings.output), "seconds": time.monotonic() - started, "metrics": facts["metrics"]}


def _prepare(settings: Settings, eye: Eye, remembered: Remembered | None, console: Console) -> Prepared:
    cache = FeatureCache(settings.cache, eye)
    try:
        return prepare(
            settings.catalogue,
            settings.reading,
            cache,
            settings.views,
            console,
            settings.shares,
            settings.seed,
            remembered,
        )
    finally:
        cache.close()


def _compare_with(
    remembered: Remembered,
    prepared: Prepared,
    fitted: Mapping[str, Fitted],
    settings: Settings,
    console: Console,
) -> dict[str, Any]:
    """What changed, told; raises WorseThanBefore unless that may be."""
    changes = compare(remembered, prepared, {name: one.head for name, one in fitted.items()})
    for attribute, change in changes.items():
        for sentence in describe_change(attribute, change):
            console.print(sentence, markup=False)
    if not settings.publish_worse:
        refuse_worse(changes, settings.margin)
    return {"from": settings.previous.name if settings.previous else None, "margin": settings.margin, **changes}


def _tune(
    settings: Settings, prepared: Prepared, fitted: Mapping[str, Fitted], eye: Eye, console: Console
) -> tuple[Prepared, dict[str, Fitted], TunedBackbone]:
    """The backbone tuned, the photos as it sees them, and heads fitted anew on that; sides and classes stay."""
    from export.training.backbone_tuning import tune_backbone

    assert settings.tuning is not None
    heads = {name: one.head for name, one in fitted.items()}
    tuned = tune_backbone(prepared, heads, eye, settings.base, settings.tuning, settings.cache, console)
    cache = FeatureCache(settings.cache, tuned.eye)
    try:
        with step(console, "Features by the tuned backbone"):
            features = cache.read([row.photo for row in prepared.rows], settings.views)
    finally:
        cache.close()
    prepared = replace(prepared, features=replace(features, unreadable=prepared.features.unreadable))
    return prepared, fit_all(prepared, settings, console), tuned


def fit_all(prepared: Prepared, settings: Settings, console: Console) -> dict[str, Fitted]:
    """A head for each attribute, in equal parts of the minutes."""
    budget_s = 60 * settings.search_minutes / len(prepared.attributes)
    fitted = {}
    for attribute, classes in prepared.attributes.items():
        with step(console, f"Head {attribute}, {len(classes)} classes"):
            train_, validation = examples(prepared, attribute, TRAIN), examples(prepared, attribute, VALIDATION)
            head, search = fit_head(attribute, classes, train_, validation, budget_s, settings.trials, settings.seed)
            fitted[attribute] = Fitted(head, search, answers(prepared, head, VALIDATION), answers(prepared, head, TEST))
    return fitted


def examples(prepared: Prepared, attribute: str, side: str) -> Examples:
    """The photos of one side whose label is known, in all views."""
    rows = prepared.rows_of(attribute, side)
    weights = photo_weights(prepared.groups)[rows]
    return Examples(prepared.features.views[rows], prepared.targets(attribute)[rows], weights)


def answers(prepared: Prepared, head: Head, side: str) -> Answers:
    """What the head says of the photos of one side, as served."""
    rows = prepared.rows_of(head.attribute, side)
    photos = [prepared.rows[row].photo for row in rows]
    return answer(head, photos, prepared.targets(head.attribute)[rows], prepared.features.served[rows])


def _tell(prepared: Prepared, console: Console) -> None:
    sides = ", ".join(f"{len(prepared.split.rows(side))} {side}" for side in SPLITS)
    console.print(f"{len(prepared.rows)} photos ({sides}), {prepared.features.computed} seen for the first time.")
    duplicates = prepared.duplicates
    if duplicates["pairs"]:
        console.print(
            f"{duplicates['pairs']} pairs of near-duplicates; {duplicates['across_splits']} would have straddled: "
            f"{len(prepared.split.moved)} photos were moved together."
        )
    for notice in prepared.notices:
        console.print(f"note: {notice}", markup=False)


def _report(settings: Settings, prepared: Prepared, fitted: Mapping[str, Fitted], eye: Eye, console: Console) -> Report:
    return make_report(
        {name: (one.head, one.validation, one.test) for name, one in fitted.items()},
        eye,
        f"{settings.output.name}: trained on {settings.catalogue.name}",
        _described(prepared, settings),
        settings.target_precision,
        console,
    )


def _described(prepared: Prepared, settings: Settings) -> dict[str, object]:
    """What a reader of the report asks for first."""
    sides = {f"photos, {side}": len(prepared.split.rows(side)) for side in SPLITS}
    return {
        "catalogue": settings.catalogue.name,
        **sides,
        "photos that cannot be read": len(prepared.features.unreadable),
        "pairs of near-duplicates kept on one side": prepared.duplicates["pairs"],
        "seed": settings.seed,
        "notes": " ".join(prepared.notices) or "none",
    }


def _summarise(fitted: Mapping[str, Fitted], console: Console) -> None:
    for attribute, one in fitted.items():
        console.print(
            f"{attribute}: {len(one.head.classes)} classes, validation {describe(one.validation.figures())}, "
            f"test {describe(one.test.figures())}."
        )


def _facts(
    settings: Settings, prepared: Prepared, fitted: Mapping[str, Fitted], eye: Eye, seconds: float
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
        "photos": {side: len(prepared.split.rows(side)) for side in SPLITS}
        | {"unreadable": len(prepared.features.unreadable)},
        "near_duplicates": prepared.duplicates | {"moved": len(prepared.split.moved)},
        "notices": list(prepared.notices),
        "backbone": {"name": placed.get("backbone", {}).get("name"), "embedder": eye.digest},
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


def _files(prepared: Prepared, fitted: Mapping[str, Fitted], eye: Eye) -> dict[str, bytes]:
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
        UNREADABLE: unreadable_table(prepared),
        PROBE: save(make_probe(eye, {name: one.head for name, one in fitted.items()})),
        REHEARSAL: save(_rehearsal(prepared)),
    }


def _rehearsal(prepared: Prepared) -> dict[str, Any]:
    """What a later training is rehearsed on: served features of all photos, in the order of split.csv."""
    return {"features": prepared.features.served.astype(np.float16)}
