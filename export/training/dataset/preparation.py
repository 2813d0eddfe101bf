"""Prepares a catalogue for training: reads it, extracts features, and splits it without leaks between splits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console

from export.arrays import Floats, Integers
from export.errors import CatalogueError
from export.progress import step
from export.training.dataset.catalogue import Catalogue, ReadingOptions, Row, read_catalogue, shorten
from export.training.dataset.near_duplicates import find_near_duplicates, group_rows
from export.training.dataset.refused import refuse_unreadable
from export.training.dataset.rehearsal import Rehearsal
from export.training.dataset.split import (
    DEFAULT_SHARES,
    TEST,
    TRAIN,
    VALIDATION,
    Split,
    count_straddling,
    split_rows,
)
from export.training.dataset.tables import to_csv
from export.training.features.cache import Features
from triptych.sources.photo_files import printable_path
from triptych.sources.rows import RefusedRow


@dataclass(frozen=True)
class PreparedCatalogue:
    """Readable photos with features and splits; all fields have the same rows.

    Attributes:
        attributes: attribute -> sorted labels; only labels with at least one training photo.
        groups: rows with the same number are one product or near-duplicates.
        duplicates: number of near-duplicate pairs, and of those that would be in different splits.
        refused: rows that are not used, and photos that cannot be read.
    """

    catalogue: Catalogue
    features: Features
    split: Split
    groups: Integers
    attributes: dict[str, tuple[str, ...]]
    duplicates: dict[str, int]
    notices: tuple[str, ...]
    refused: tuple[RefusedRow, ...] = ()

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.catalogue.rows

    def targets(self, attribute: str) -> Integers:
        """int64[N]; -1 if the label is unknown or has no training photo."""
        index = {label: number for number, label in enumerate(self.attributes[attribute])}
        return np.array([index.get(row.labels.get(attribute, ""), -1) for row in self.rows], np.int64)

    def rows_of(self, attribute: str, row_split: str) -> Integers:
        """int64[*], the rows of one split with a known label."""
        rows = self.split.rows(row_split)
        known: Integers = rows[self.targets(attribute)[rows] >= 0]
        return known


def prepare_catalogue(
    source: Path,
    reading: ReadingOptions,
    extract: Callable[[Sequence[Path]], Features],
    console: Console,
    shares: Sequence[float] = DEFAULT_SHARES,
    seed: int = 0,
    rehearsal: Rehearsal | None = None,
) -> PreparedCatalogue:
    """Reads the catalogue, extracts features, and splits the photos by `shares` of training, validation and test.

    In incremental training, the photos of the previous training (`rehearsal`) keep their splits.

    Raises:
        CatalogueError: there is nothing to train on.
        TrainingError: the features cannot be cached.
    """
    with step(console, "Reading the catalogue"):
        catalogue = read_catalogue(source, reading, min_classes=1 if rehearsal is not None else 2)
    features = extract([row.photo for row in catalogue.rows])
    refused = (*catalogue.refused, *refuse_unreadable(catalogue, features.unreadable))
    catalogue, features, notices = _readable(catalogue, features)
    previous_splits: dict[bytes, str] = {}
    if rehearsal is not None:
        catalogue, features = _with_rehearsal(catalogue, features, rehearsal)
        previous_splits = {d: row.split or TRAIN for d, row in zip(rehearsal.digests, rehearsal.rows, strict=True)}
    with step(console, "Splitting"):
        split, groups, duplicates = _split(catalogue.rows, features, shares, seed, previous_splits, notices)
    attributes = _classes(catalogue, split, notices)
    return PreparedCatalogue(catalogue, features, split, groups, attributes, duplicates, tuple(notices), refused)


def _readable(catalogue: Catalogue, features: Features) -> tuple[Catalogue, Features, list[str]]:
    """The rows with a readable photo, their features, and notices about the others."""
    notices = list(catalogue.notices)
    if features.unreadable:
        names = shorten([printable_path(str(photo)) for photo in features.unreadable])
        notices.append(f"{len(features.unreadable)} photos cannot be read and are left out: {names}.")
    if not len(features.rows):
        first = next(iter(features.unreadable.items()), None)
        reason = f"; the first is {first[0]}: {first[1]}" if first else ""
        raise CatalogueError(f"None of the {len(catalogue.rows)} photos of {catalogue.source} can be read{reason}.")
    catalogue = replace(catalogue, rows=tuple(catalogue.rows[row] for row in features.rows))
    return catalogue, features, notices + _contradictions(catalogue.rows, features.digests)


def _with_rehearsal(catalogue: Catalogue, features: Features, rehearsal: Rehearsal) -> tuple[Catalogue, Features]:
    """Adds the rehearsal photos that are not in the catalogue; each of their views is the served one."""
    seen = set(features.digests)
    added = [number for number, digest in enumerate(rehearsal.digests) if digest not in seen]
    rows = (*catalogue.rows, *(rehearsal.rows[number] for number in added))
    views = np.repeat(rehearsal.features[added][:, None], features.views.shape[1], axis=1)
    names = dict.fromkeys([*rehearsal.trained.heads, *catalogue.attributes])
    digests = (*features.digests, *(rehearsal.digests[number] for number in added))
    return (
        replace(catalogue, rows=rows, attributes=tuple(names)),
        replace(features, views=np.concatenate([features.views, views]), digests=digests),
    )


def _contradictions(rows: Sequence[Row], digests: Sequence[bytes]) -> list[str]:
    """Notices about identical files with different labels: one of the labels is wrong."""
    seen: dict[tuple[bytes, str], tuple[str, Path]] = {}
    found = []
    for row, digest in zip(rows, digests, strict=True):
        for attribute, label in row.labels.items():
            before = seen.setdefault((digest, attribute), (label, row.photo))
            if before[0] != label:
                found.append(
                    f"{printable_path(str(row.photo))} ({label}) is {printable_path(str(before[1]))} ({before[0]})"
                )
    return [f"{len(found)} photos are identical files with different labels: {shorten(found)}."] if found else []


def _split(
    rows: Sequence[Row],
    features: Features,
    shares: Sequence[float],
    seed: int,
    previous_splits: Mapping[bytes, str],
    notices: list[str],
) -> tuple[Split, Integers, dict[str, int]]:
    labels = [row.labels for row in rows]
    products = [row.product for row in rows]
    fixed = {
        number: row_split
        for number, (row, digest) in enumerate(zip(rows, features.digests, strict=True))
        if (row_split := row.split or previous_splits.get(digest)) is not None
    }
    if fixed.keys() == set(range(len(rows))) and VALIDATION not in fixed.values():
        fixed, shares = _free_training_rows(fixed, shares, notices)
    pairs = find_near_duplicates(features.served)
    apart = group_rows(products, [])
    together = group_rows(products, pairs)
    before = split_rows(labels, apart.tolist(), shares, seed, fixed)
    grouped = split_rows(labels, together.tolist(), shares, seed, fixed)
    # A split that is given stays, also where a near-duplicate has another one.
    assigned = tuple(fixed.get(row, row_split) for row, row_split in enumerate(grouped))
    across = count_straddling(pairs, before)
    leaks = count_straddling(pairs, assigned)
    if leaks:
        notices.append(
            f"{leaks} pairs of near-duplicates are in different splits that are given: the measured accuracy is too "
            "high. Move each pair into one split."
        )
    mixed = {group for group, row_split in zip(together, before, strict=True) if row_split != before[group]}
    moved = tuple(row for row, group in enumerate(together) if group in mixed and row not in fixed)
    return Split(assigned, moved), together, {"pairs": len(pairs), "across_splits": across}


def _free_training_rows(
    fixed: Mapping[int, str], shares: Sequence[float], notices: list[str]
) -> tuple[dict[int, str], tuple[float, float, float]]:
    """The test rows stay; the training rows are split, since nothing could be chosen without a validation set."""
    test = {row: split for row, split in fixed.items() if split == TEST}
    kept = (shares[0], shares[1], 0.0 if test else shares[2])
    parts = "validation" if test else "validation and test"
    notices.append(f"No photo is given for validation: a part of the training photos becomes the {parts} set.")
    return test, (kept[0] / sum(kept), kept[1] / sum(kept), kept[2] / sum(kept))


def _classes(catalogue: Catalogue, split: Split, notices: list[str]) -> dict[str, tuple[str, ...]]:
    """The labels with training photos; adds notices about the others."""
    attributes = {}
    for attribute in catalogue.attributes:
        counts = Counter(
            row.labels[attribute]
            for row, row_split in zip(catalogue.rows, split.assigned, strict=True)
            if row_split == TRAIN and attribute in row.labels
        )
        lost = sorted({row.labels[attribute] for row in catalogue.rows if attribute in row.labels} - counts.keys())
        if lost:
            notices.append(f"{attribute}: no training photo for {shorten(lost)}; left out.")
        if len(counts) < 2:
            notices.append(f"{attribute}: fewer than 2 classes have training photos; it is left out.")
            continue
        attributes[attribute] = tuple(sorted(counts))
    if not attributes:
        raise CatalogueError(
            f"{catalogue.source}: no attribute has 2 classes with training photos. " + " ".join(notices[-3:])
        )
    return attributes


def split_table(prepared: PreparedCatalogue) -> bytes:
    """CSV: every photo with its split, group, digest and labels."""
    names = list(prepared.attributes)
    source = prepared.catalogue.source
    root = source if source.is_dir() else source.parent
    table = zip(prepared.rows, prepared.split.assigned, prepared.groups, prepared.features.digests, strict=True)
    rows = []
    for row, row_split, group, digest in table:
        labels = [row.labels.get(name, "") for name in names]
        rows.append([_inside(row.photo, root), row_split, int(group), digest.hex(), *labels])
    return to_csv(["photo", "split", "group", "sha256", *names], rows)


def _inside(photo: Path, root: Path) -> str:
    """Path relative to the catalogue; photos of an earlier training keep their path."""
    return (photo.relative_to(root) if photo.is_relative_to(root) else photo).as_posix()


def photo_weights(groups: Integers) -> Floats:
    """float32[N], 1 / sqrt(photos of the group), so that products with many photos do not dominate."""
    _, positions, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return np.asarray(sizes[positions] ** -0.5, np.float32)
