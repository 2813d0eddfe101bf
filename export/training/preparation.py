"""From a catalogue to photos that can be learned from: read, seen by the placed backbone, split without leaks."""

from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console
from rich.progress import Progress

from export.progress import step
from export.training.catalogue import Catalogue, Reading, Row, read_catalogue, shorten
from export.training.errors import CatalogueError
from export.training.features import FeatureCache, Features
from export.training.heads import Floats, Integers
from export.training.near_duplicates import find_near_duplicates, group_rows
from export.training.split import DEFAULT_SHARES, TRAIN, Split, split_rows, straddling
from export.training.tables import SPLIT_WORDS

if TYPE_CHECKING:
    from export.training.continuing import Remembered


@dataclass(frozen=True)
class Prepared:
    """Photos that were read, and what is known of them; rows are the same in all of it.

    Attributes:
        attributes: attribute -> its labels, sorted: only labels that some photo is learned from.
        groups: rows of one number are one product or near-duplicates.
        duplicates: pairs of near-duplicates, and how many of them would have straddled.
    """

    catalogue: Catalogue
    features: Features
    split: Split
    groups: Integers
    attributes: dict[str, tuple[str, ...]]
    duplicates: dict[str, int]
    notices: tuple[str, ...] = field(default=())

    @property
    def rows(self) -> tuple[Row, ...]:
        return self.catalogue.rows

    def targets(self, attribute: str) -> Integers:
        """int64[N], -1 where the label is not known or no photo is learned from it."""
        index = {label: number for number, label in enumerate(self.attributes[attribute])}
        return np.array([index.get(row.labels.get(attribute, ""), -1) for row in self.rows], np.int64)

    def rows_of(self, attribute: str, side: str) -> Integers:
        """int64[*], the rows of one side whose label is known."""
        rows = self.split.rows(side)
        known: Integers = rows[self.targets(attribute)[rows] >= 0]
        return known


def prepare(
    source: Path,
    reading: Reading,
    cache: FeatureCache,
    views: int,
    console: Console,
    shares: Sequence[float] = DEFAULT_SHARES,
    seed: int = 0,
    remembered: Remembered | None = None,
) -> Prepared:
    """Reads the catalogue, computes what is not in the cache, and splits.

    Args:
        source: a folder or a table.
        reading: which columns are what.
        cache: of features.
        views: of each photo.
        console: to tell what is going on.
        shares: of train, validation and test.
        seed: of the split.
        remembered: photos of a training that this one continues; they keep their sides.

    Raises:
        CatalogueError: there is nothing to learn from.
        TrainingError: the cache cannot be written.
    """
    with step(console, "Reading the catalogue"):
        catalogue = read_catalogue(source, reading, min_classes=1 if remembered is not None else 2)
    catalogue, features, notices = _readable(catalogue, _see(catalogue, cache, views, console))
    sides_before: dict[bytes, str] = {}
    if remembered is not None:
        catalogue, features = _with_remembered(catalogue, features, remembered)
        sides_before = {d: row.split or TRAIN for d, row in zip(remembered.digests, remembered.rows, strict=True)}
    with step(console, "Splitting"):
        split, groups, duplicates = _split(catalogue.rows, features, shares, seed, sides_before)
    attributes = _classes(catalogue, split, notices)
    return Prepared(catalogue, features, split, groups, attributes, duplicates, tuple(notices))


def _readable(catalogue: Catalogue, features: Features) -> tuple[Catalogue, Features, list[str]]:
    """The rows whose photo could be read, and what is to be said of the others."""
    notices = list(catalogue.notices)
    if features.unreadable:
        names = shorten([str(photo) for photo in features.unreadable])
        notices.append(f"{len(features.unreadable)} photos cannot be read and are left out: {names}.")
    if not len(features.rows):
        first = next(iter(features.unreadable.items()), None)
        said = f", the first is {first[0]}: {first[1]}" if first else ""
        raise CatalogueError(f"None of the {len(catalogue.rows)} photos of {catalogue.source} can be read{said}.")
    catalogue = replace(catalogue, rows=tuple(catalogue.rows[row] for row in features.rows))
    return catalogue, features, notices + _contradictions(catalogue.rows, features.digests)


def _with_remembered(catalogue: Catalogue, features: Features, remembered: Remembered) -> tuple[Catalogue, Features]:
    """The photos of before that are not in the catalogue, as their features: each view is the served one."""
    seen = set(features.digests)
    added = [number for number, digest in enumerate(remembered.digests) if digest not in seen]
    rows = (*catalogue.rows, *(remembered.rows[number] for number in added))
    views = np.repeat(remembered.features[added][:, None], features.views.shape[1], axis=1)
    names = dict.fromkeys([*remembered.trained.heads, *catalogue.attributes])
    digests = (*features.digests, *(remembered.digests[number] for number in added))
    return (
        replace(catalogue, rows=rows, attributes=tuple(names)),
        replace(features, views=np.concatenate([features.views, views]), digests=digests),
    )


def _see(catalogue: Catalogue, cache: FeatureCache, views: int, console: Console) -> Features:
    photos = [row.photo for row in catalogue.rows]
    with Progress(console=console, transient=True) as bar, step(console, f"Features of {len(photos)} photos"):
        task = bar.add_task("Features", total=len(photos))
        return cache.read(photos, views, lambda done, total: bar.update(task, completed=done))


def _contradictions(rows: Sequence[Row], digests: Sequence[bytes]) -> list[str]:
    """The very same file under two labels: one of them is wrong."""
    seen: dict[tuple[bytes, str], tuple[str, Path]] = {}
    found = []
    for row, digest in zip(rows, digests, strict=True):
        for attribute, label in row.labels.items():
            before = seen.setdefault((digest, attribute), (label, row.photo))
            if before[0] != label:
                found.append(f"{row.photo} ({label}) is {before[1]} ({before[0]})")
    return [f"{len(found)} photos are the same file under two labels: {shorten(found)}."] if found else []


def _split(
    rows: Sequence[Row], features: Features, shares: Sequence[float], seed: int, sides_before: Mapping[bytes, str]
) -> tuple[Split, Integers, dict[str, int]]:
    labels = [row.labels for row in rows]
    products = [row.product for row in rows]
    fixed = {
        number: side
        for number, (row, digest) in enumerate(zip(rows, features.digests, strict=True))
        if (side := SPLIT_WORDS.get((row.split or "").lower()) or sides_before.get(digest)) is not None
    }
    pairs = find_near_duplicates(features.served)
    apart = group_rows(len(rows), products, [])
    together = group_rows(len(rows), products, pairs)
    before = split_rows(labels, apart.tolist(), shares, seed, fixed)
    sides = split_rows(labels, together.tolist(), shares, seed, fixed)
    across = straddling(pairs, before)
    mixed = {group for group, side in zip(together, before, strict=True) if side != before[group]}
    return (
        Split(sides, tuple(row for row, group in enumerate(together) if group in mixed)),
        together,
        {"pairs": len(pairs), "across_splits": across},
    )


def _classes(catalogue: Catalogue, split: Split, notices: list[str]) -> dict[str, tuple[str, ...]]:
    """The labels that photos are learned from; the others are said."""
    attributes = {}
    for attribute in catalogue.attributes:
        counts = Counter(
            row.labels[attribute]
            for row, side in zip(catalogue.rows, split.sides, strict=True)
            if side == TRAIN and attribute in row.labels
        )
        lost = sorted({row.labels[attribute] for row in catalogue.rows if attribute in row.labels} - counts.keys())
        if lost:
            notices.append(f"{attribute}: no photo to learn from for {shorten(lost)}; left out.")
        if len(counts) < 2:
            notices.append(f"{attribute}: fewer than 2 classes can be learned; it is left out.")
            continue
        attributes[attribute] = tuple(sorted(counts))
    if not attributes:
        raise CatalogueError(
            f"{catalogue.source}: no attribute has 2 classes that can be learned. " + " ".join(notices[-3:])
        )
    return attributes


def split_table(prepared: Prepared) -> bytes:
    """CSV: every photo with its side, group, digest and labels."""
    file = io.StringIO()
    names = list(prepared.attributes)
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["photo", "split", "group", "sha256", *names])
    source = prepared.catalogue.source
    root = source if source.is_dir() else source.parent
    columns = zip(prepared.rows, prepared.split.sides, prepared.groups, prepared.features.digests, strict=True)
    for row, side, group, digest in columns:
        labels = [row.labels.get(name, "") for name in names]
        writer.writerow([_inside(row.photo, root), side, int(group), digest.hex(), *labels])
    return file.getvalue().encode()


def _inside(photo: Path, root: Path) -> str:
    """As the catalogue names it; a photo of an earlier training as that one did."""
    return (photo.relative_to(root) if photo.is_relative_to(root) else photo).as_posix()


def unreadable_table(prepared: Prepared) -> bytes:
    """CSV: every photo that was skipped, and why."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["photo", "why"])
    for photo, why in prepared.features.unreadable.items():
        writer.writerow([str(photo), why])
    return file.getvalue().encode()


def photo_weights(groups: Integers) -> Floats:
    """float32[N], 1 / sqrt(photos of the group): twenty photos of one thing say less than twenty things."""
    sizes: dict[int, int] = defaultdict(int)
    for group in groups:
        sizes[int(group)] += 1
    return np.array([sizes[int(group)] ** -0.5 for group in groups], np.float32)
