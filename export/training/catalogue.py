"""What is learned from: rows of a photo, its labels and its product. Reads a folder of class folders, or a table.

Owns: finding photos, refusing paths that lead outside, bringing labels to one spelling. Opens no photo.
"""

from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from export.training.errors import CatalogueError
from export.training.tables import TABLE_SUFFIXES, Columns, read_table

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")

# What the classes of a folder are labels of: the recogniser's first output.
CATEGORY = "category"

# Becomes the name of a tensor and of a file.
_ATTRIBUTE = re.compile(r"[a-z][a-z0-9_]{0,39}")

_SHOWN = 5


@dataclass(frozen=True)
class Row:
    """One photo.

    Attributes:
        photo: where it is.
        labels: attribute -> label; an attribute that is not known for this photo is not there.
        product: photos of one product are never on both sides of a split; None where nothing says.
        split: "train", "validation" or "test" where the table says so.
    """

    photo: Path
    labels: Mapping[str, str]
    product: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Catalogue:
    """Rows, and what a person should know about how they were read.

    Attributes:
        source: the folder or the table.
        attributes: those with at least two labels, in the order of the columns.
        notices: a sentence each.
    """

    source: Path
    rows: tuple[Row, ...]
    attributes: tuple[str, ...]
    notices: tuple[str, ...] = ()

    def labels_of(self, attribute: str) -> list[str]:
        """The attribute's labels, each once, sorted: the order of its scores."""
        return sorted({row.labels[attribute] for row in self.rows if attribute in row.labels})


@dataclass(frozen=True)
class Reading:
    """How to read a catalogue; None is what the reader finds itself.

    Attributes:
        image: column with the path of the photo.
        attributes: columns with labels.
        product: column that says which photos show one product.
    """

    image: str | None = None
    attributes: tuple[str, ...] = ()
    product: str | None = None


@dataclass
class _Notes:
    sentences: list[str] = field(default_factory=list)

    def add(self, sentence: str) -> None:
        self.sentences.append(sentence)


def read_catalogue(source: Path, reading: Reading = Reading(), min_classes: int = 2) -> Catalogue:
    """Reads a folder of class folders, or a table; each attribute has `min_classes` or more.

    Raises:
        CatalogueError: there is nothing to learn from, or a path leads outside the catalogue's folder.
    """
    notes = _Notes()
    if source.is_dir():
        rows = _read_folder(source)
    elif source.is_file():
        columns, found = read_table(source, Columns(reading.image, reading.attributes, reading.product))
        notes.sentences += columns.notices
        rows = [_row_of_table(source.parent, line, values, columns) for line, values in enumerate(found, start=1)]
        _refuse_outside(source, rows)
    else:
        raise CatalogueError(
            f"There is no {source}. Name a folder of class folders, or a table ({', '.join(TABLE_SUFFIXES)})."
        )
    if not rows:
        raise CatalogueError(
            f"{source} has 0 rows; expected a photo and a label in each. "
            f"A folder is read as FOLDER/<class>/*{{{','.join(PHOTO_SUFFIXES)}}}."
        )
    rows = _drop_missing(rows, notes)
    rows = _unify_labels(rows, notes)
    attributes = _learnable(source, rows, notes, min_classes)
    return Catalogue(source, tuple(rows), attributes, tuple(notes.sentences))


def _read_folder(folder: Path) -> list[Row]:
    root = folder.resolve()
    photos = sorted(
        Path(parent) / name
        for parent, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix.lower() in PHOTO_SUFFIXES and not name.startswith(".")
    )
    loose = [photo for photo in photos if photo.parent == folder]
    if photos and len(loose) == len(photos):
        raise CatalogueError(
            f"{folder} holds {len(photos)} photos and no class folders: nothing says what they show. "
            "Move them into a folder a class, or name a table with a column of labels."
        )
    outside = [photo for photo in photos if not photo.resolve().is_relative_to(root)]
    if outside:
        raise CatalogueError(_describe_outside(folder, [str(photo) for photo in outside]))
    return [Row(photo, {CATEGORY: " ".join(photo.parent.name.split())}) for photo in photos if photo.parent != folder]


def _row_of_table(folder: Path, line: int, values: Mapping[str, str | None], columns: Columns) -> Row:
    image = values.get(columns.image or "")
    if not image:
        raise CatalogueError(f"Row {line} has no photo in the column {columns.image!r}. Fill it in, or remove the row.")
    labels = {
        attribute: label
        for column, attribute in columns.named_attributes().items()
        if (label := " ".join((values.get(column) or "").split()))
    }
    product = values.get(columns.product) if columns.product else None
    split = values.get(columns.split) if columns.split else None
    return Row(folder / image, labels, product or None, split or None)


def _refuse_outside(table: Path, rows: Iterable[Row]) -> None:
    root = table.parent.resolve()
    outside = [str(row.photo) for row in rows if not row.photo.resolve().is_relative_to(root)]
    if outside:
        raise CatalogueError(_describe_outside(table, outside))


def _describe_outside(source: Path, outside: Sequence[str]) -> str:
    folder = source if source.is_dir() else source.parent
    return (
        f"{source}: {len(outside)} photos are outside the folder {folder}, first {outside[0]}. Nothing was read. "
        f"Photos are looked for in that folder alone: copy them into it, and name them relative to it."
    )


def _drop_missing(rows: Sequence[Row], notes: _Notes) -> list[Row]:
    kept = [row for row in rows if row.photo.is_file()]
    missing = [str(row.photo) for row in rows if not row.photo.is_file()]
    if missing:
        notes.add(f"{len(missing)} photos are not there and are left out: {shorten(missing)}.")
    unlabelled = sum(not row.labels for row in kept)
    if unlabelled:
        notes.add(f"{unlabelled} rows have no label at all and are left out.")
    return [row for row in kept if row.labels]


def _unify_labels(rows: Sequence[Row], notes: _Notes) -> list[Row]:
    """Labels that differ by case or space alone become the most frequent spelling of them."""
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
                notes.add(f"{attribute}: {seen} differ by case or space alone and are taken as {best!r}.")
    return [
        replace(row, labels={name: chosen[name][key_of(label)] for name, label in row.labels.items()}) for row in rows
    ]


def key_of(label: str) -> str:
    """Equal for labels that differ by case or space alone."""
    return "".join(label.casefold().split())


def _learnable(source: Path, rows: Sequence[Row], notes: _Notes, min_classes: int) -> tuple[str, ...]:
    names = dict.fromkeys(name for row in rows for name in row.labels)
    attributes = []
    for name in names:
        if not _ATTRIBUTE.fullmatch(name):
            raise CatalogueError(
                f"{source}: the column {name!r} cannot name an output; expected a-z, 0-9 and _, a letter first."
            )
        counts = Counter(row.labels[name] for row in rows if name in row.labels)
        if len(counts) < min_classes:
            notes.add(f"{name} has 1 class, {next(iter(counts))!r}: there is nothing to tell apart; it is left out.")
            continue
        attributes.append(name)
        alone = sorted(label for label, count in counts.items() if count == 1)
        if alone:
            notes.add(f"{name}: {len(alone)} classes have 1 photo, learned but not measured: {shorten(alone)}.")
        without = len(rows) - counts.total()
        if without:
            notes.add(f"{name}: {without} of {len(rows)} photos have no label; they do not count for it.")
    if not attributes:
        raise CatalogueError(
            f"{source}: no label column has 2 classes or more ({len(rows)} photos, {', '.join(names) or 'none'}). "
            "Add photos of another class, each in a folder of its own or with a label in the table."
        )
    return tuple(attributes)


def shorten(names: Sequence[str]) -> str:
    """The first few, and how many more."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
