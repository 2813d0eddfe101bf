"""Reads a catalogue: a folder of class folders, or a table, as rows of a photo, its labels and its product.

Owns: finding photos, refusing paths outside the catalogue, unifying the spelling of labels. Opens no photo.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.errors import CatalogueError
from export.training.dataset.tables import TABLE_SUFFIXES, Columns, read_table

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")

# The attribute of class folders: the first output of the recogniser.
CATEGORY = "category"

# An attribute name becomes part of tensor names and file names.
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,39}")

_SHOWN = 5


@dataclass(frozen=True)
class Row:
    """One photo.

    Attributes:
        photo: path of the photo.
        labels: attribute -> label; without attributes whose label is unknown.
        product: all photos of one product go into the same split; None if unknown.
        split: "train", "validation" or "test" if the table has it.
    """

    photo: Path
    labels: Mapping[str, str]
    product: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Catalogue:
    """Rows, and notices for the user about how they were read.

    Attributes:
        source: the folder or the table.
        attributes: attributes with at least two labels, in the order of the columns.
        notices: one sentence each.
    """

    source: Path
    rows: tuple[Row, ...]
    attributes: tuple[str, ...]
    notices: tuple[str, ...] = ()


def read_catalogue(
    source: Path, columns: Columns | None = None, min_classes: int = 2, *, is_for_training: bool = True
) -> Catalogue:
    """Reads a folder of class folders, or a table; attributes with fewer than `min_classes` classes are left out.

    Args:
        source: the folder or the table.
        columns: columns of the table that the user named.
        min_classes: of an attribute.
        is_for_training: adds notices about classes that can be trained but not evaluated.

    Raises:
        CatalogueError: there is nothing to train on, or a path is outside the folder of the catalogue.
    """
    notes: list[str] = []
    if source.is_dir():
        if columns not in (None, Columns()):
            raise CatalogueError(
                f"{source} is a folder of class folders, which has the attribute {CATEGORY} and no columns. Leave out "
                "the names of columns, or name a table."
            )
        rows = _read_folder(source)
    elif source.is_file():
        columns, found = read_table(source, columns or Columns())
        notes += columns.notices
        rows = [_row_of_table(source.parent, line, values, columns) for line, values in enumerate(found, start=1)]
        _refuse_outside(source, (row.photo for row in rows))
    else:
        raise CatalogueError(
            f"{source} does not exist. Name a folder of class folders, or a table ({', '.join(TABLE_SUFFIXES)})."
        )
    if not rows:
        raise CatalogueError(
            f"{source} has 0 rows; expected rows with a photo and a label. "
            f"The layout of a folder is FOLDER/<class>/*{{{','.join(PHOTO_SUFFIXES)}}}."
        )
    rows = _drop_missing(rows, notes)
    rows = _unify_labels(rows, notes)
    attributes = _usable_attributes(source, rows, notes, min_classes, is_for_training)
    return Catalogue(source, tuple(rows), attributes, tuple(notes))


def _read_folder(folder: Path) -> list[Row]:
    photos = sorted(
        Path(parent) / name
        for parent, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in PHOTO_SUFFIXES and not name.startswith(".")
    )
    loose = [photo for photo in photos if photo.parent == folder]
    if photos and len(loose) == len(photos):
        raise CatalogueError(
            f"{folder} contains {len(photos)} photos but no class folders, so they have no labels. "
            "Move them into one folder per class, or name a table with a label column."
        )
    _refuse_outside(folder, photos)
    return [Row(photo, {CATEGORY: " ".join(photo.parent.name.split())}) for photo in photos if photo.parent != folder]


def _row_of_table(folder: Path, line: int, values: Mapping[str, str | None], columns: Columns) -> Row:
    image = values.get(columns.image or "")
    if not image:
        raise CatalogueError(
            f"Row {line} has no photo in the column {columns.image!r}. Add the path, or remove the row."
        )
    labels = {
        attribute: label
        for column, attribute in columns.named_attributes().items()
        if (label := " ".join((values.get(column) or "").split()))
    }
    product = values.get(columns.product) if columns.product else None
    split = values.get(columns.split) if columns.split else None
    return Row(folder / image, labels, product or None, split or None)


def _refuse_outside(source: Path, photos: Iterable[Path]) -> None:
    folder = source if source.is_dir() else source.parent
    outside = [photo for photo in photos if not photo.resolve().is_relative_to(folder.resolve())]
    if outside:
        raise CatalogueError(
            f"{source}: {len(outside)} photos are outside the folder {folder}, first {outside[0]}. Nothing was read. "
            "Copy all photos into that folder, and use paths relative to it."
        )


def _drop_missing(rows: Sequence[Row], notes: list[str]) -> list[Row]:
    kept = [row for row in rows if row.photo.is_file()]
    missing = [str(row.photo) for row in rows if not row.photo.is_file()]
    if missing:
        notes.append(f"Photos that do not exist and are left out ({len(missing)}): {shorten(missing)}.")
    unlabelled = sum(not row.labels for row in kept)
    if unlabelled:
        notes.append(f"Rows without a label, left out: {unlabelled}.")
    return [row for row in kept if row.labels]


def _unify_labels(rows: Sequence[Row], notes: list[str]) -> list[Row]:
    """Replaces labels that differ only by case or spaces with the most frequent spelling."""
    spellings: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for row in rows:
        for attribute, label in row.labels.items():
            spellings[attribute][key_of(label)][label] += 1
    chosen: dict[str, dict[str, str]] = {}
    for attribute, by_key in spellings.items():
        chosen[attribute] = {}
        for key, counts in by_key.items():
            best = min(counts, key=lambda spelling: (-counts[spelling], spelling))
            chosen[attribute][key] = best
            if len(counts) > 1:
                seen = ", ".join(f"{spelling!r} ({count})" for spelling, count in counts.most_common())
                notes.append(f"{attribute}: {seen} differ only by case or spaces and are unified to {best!r}.")
    return [
        replace(row, labels={name: chosen[name][key_of(label)] for name, label in row.labels.items()}) for row in rows
    ]


def key_of(label: str) -> str:
    """A key that is equal for labels that differ only by case or spaces."""
    return "".join(label.casefold().split())


def _usable_attributes(
    source: Path, rows: Sequence[Row], notes: list[str], min_classes: int, is_for_training: bool
) -> tuple[str, ...]:
    names = dict.fromkeys(name for row in rows for name in row.labels)
    attributes = []
    for name in names:
        if not _ATTRIBUTE.fullmatch(name):
            raise CatalogueError(
                f"{source}: the column name {name!r} cannot be an output name; expected a-z, 0-9 and _, starting with "
                "a letter."
            )
        counts = Counter(row.labels[name] for row in rows if name in row.labels)
        if len(counts) < min_classes:
            notes.append(f"{name} has only 1 class, {next(iter(counts))!r}, and is left out.")
            continue
        attributes.append(name)
        alone = sorted(label for label, count in counts.items() if count == 1)
        if alone and is_for_training:
            notes.append(
                f"{name}: {len(alone)} classes have 1 photo, used for training and excluded from evaluation: "
                f"{shorten(alone)}."
            )
        without = len(rows) - counts.total()
        if without:
            notes.append(f"{name}: {without} of {len(rows)} photos have no label and are not used for this attribute.")
    if not attributes:
        raise CatalogueError(
            f"{source}: no label column has 2 classes or more ({len(rows)} photos, {', '.join(names) or 'none'}). "
            "Add photos of another class, as a further class folder or with a label in the table."
        )
    return tuple(attributes)


def shorten(names: Sequence[str]) -> str:
    """The first few names, and the number of the others."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
