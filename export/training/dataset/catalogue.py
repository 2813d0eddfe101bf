"""Reads a catalogue: a folder of class folders, or a table, as rows of a photo, its labels and its product.

Owns: what is left out and said, and the spelling of labels. Opens no photo.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from export.errors import CatalogueError
from export.training.dataset.rows import ReadingOptions, Row, sentence_of
from export.training.dataset.table_rows import read_rows
from export.training.dataset.tables import TABLE_SUFFIXES, Columns
from triptych.errors import InvalidInput
from triptych.sources.folder import ClassFolder, open_class_folder
from triptych.sources.labels import key_of, unify_spellings
from triptych.sources.photo_files import Skip, SkippedFile, printable_path
from triptych.sources.report import Skipped
from triptych.sources.rows import RefusedRow
from triptych.sources.table import Table

__all__ = ["CATEGORY", "Catalogue", "ReadingOptions", "Row", "key_of", "read_catalogue", "shorten"]

# The attribute of class folders: the first output of the recogniser.
CATEGORY = "category"

_SHOWN = 5
_ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".7z", ".rar")
_MENDS = {
    Skip.LINK_OUT: "it is a link that leads out of the folder. Copy what it names into the folder.",
    Skip.LINK_BROKEN: "it is a broken link. Remove it, or restore what it names.",
}


@dataclass(frozen=True)
class Catalogue:
    """Rows, and notices for the user about how they were read.

    Attributes:
        source: the folder or the table.
        rows: those that can be used, of photos with a label.
        attributes: attributes with at least two labels, in the order of the columns.
        notices: one sentence each.
        refused: rows of the table that are not used; links and folders that cannot be read.
        unlabelled: number of rows, or photos, without a label.
        read: number of rows, or photos, of the source: `rows` (one a photo), `refused` and `unlabelled` together.
        skipped: files of the folder that are no photos, by reason.
        table: None for a folder.
        photo_column: of the table.
        advice: what to name instead of the folder, if it has too few classes.
    """

    source: Path
    rows: tuple[Row, ...]
    attributes: tuple[str, ...]
    notices: tuple[str, ...] = ()
    refused: tuple[RefusedRow, ...] = ()
    unlabelled: int = 0
    read: int = 0
    skipped: tuple[Skipped, ...] = ()
    table: Table | None = None
    photo_column: str | None = None
    advice: str = ""


def read_catalogue(
    source: Path, options: ReadingOptions | None = None, min_classes: int = 2, *, is_for_training: bool = True
) -> Catalogue:
    """Reads a folder of class folders, or a table; attributes with fewer than `min_classes` classes are left out.

    Args:
        source: the folder or the table.
        options: what the user says about it.
        min_classes: of an attribute.
        is_for_training: adds notices about classes that can be trained but not evaluated.

    Raises:
        CatalogueError: there is nothing to train on.
    """
    options = options or ReadingOptions()
    if source.is_dir():
        found = _read_folder(source, options)
    elif source.suffix.lower() in _ARCHIVES:
        raise CatalogueError(f"{source} is an archive. Unpack it, and name the folder.")
    elif source.is_file():
        found = _read_table(source, options)
    else:
        raise CatalogueError(
            f"{source} does not exist. Name a folder of class folders, or a table ({', '.join(TABLE_SUFFIXES)})."
        )
    notes = list(found.notices)
    rows = _unify_labels(found.rows, notes)
    attributes = _usable_attributes(found, rows, notes, min_classes, is_for_training)
    return replace(found, rows=tuple(rows), attributes=attributes, notices=tuple(notes))


def _read_folder(folder: Path, options: ReadingOptions) -> Catalogue:
    if options.columns != Columns():
        raise CatalogueError(
            f"{folder} is a folder of class folders, which has the attribute {CATEGORY} and no columns. Leave out "
            "the names of columns, or name a table."
        )
    try:
        opened = open_class_folder(folder, options.class_level, has_split_folders=options.has_split_folders)
    except InvalidInput as error:
        raise CatalogueError(str(error)) from error
    rows = [Row(Path(photo.path), {CATEGORY: photo.label}, photo.product, photo.split) for photo in opened.photos]
    return Catalogue(
        folder,
        tuple(rows),
        (),
        tuple(_describe(opened)),
        tuple(map(_refusal, opened.refused)),
        len(opened.unclassed),
        len(rows) + len(opened.unclassed) + len(opened.refused),
        opened.skipped.by_reason(),
        advice=_advice(folder, opened),
    )


def _advice(folder: Path, opened: ClassFolder) -> str:
    """What may hold the classes of a folder whose photos are of one class: a table in it, or folders further down."""
    advice = f" It holds the table {printable_path(opened.tables[0])}: name that." if opened.tables else ""
    level = len(Path(opened.wrapper).parts) + 1
    if level > 1 and any(Path(photo.path).parent != folder / opened.wrapper for photo in opened.photos):
        advice += (
            f" If the folders in {printable_path(str(folder / opened.wrapper))} are the classes, name that folder, or "
            f"add --class-level {level}."
        )
    return advice


def _describe(opened: ClassFolder) -> list[str]:
    notes = [f"{sentence[:1].upper()}{sentence[1:]}" for sentence in opened.understood]
    if opened.empty:
        notes.append(f"Class folders without a photo, left out ({len(opened.empty)}): {shorten(opened.empty)}.")
    if opened.unclassed:
        names = [printable_path(path) for path in opened.unclassed]
        notes.append(
            f"Photos in no class folder, left out ({len(names)}): {shorten(names)}. Move them into the folder of a "
            "class."
        )
    return notes + [f"{each}." for each in opened.skipped.by_reason() if each.reason != Skip.UNCLASSED.value]


def _refusal(skipped: SkippedFile) -> RefusedRow:
    path = printable_path(skipped.path)
    reason = _MENDS.get(skipped.reason, f"it cannot be read: {skipped.detail}. Check its permissions.")
    return RefusedRow(0, None, path, reason, values={"photo": path})


def _read_table(file: Path, options: ReadingOptions) -> Catalogue:
    found = read_rows(file, options)
    notes = list(found.notices)
    if found.unlabelled:
        notes.append(f"Rows without a label, left out: {found.unlabelled}.")
    told = (found.refused, found.unlabelled, found.read)
    return Catalogue(file, found.rows, (), tuple(notes), *told, table=found.table, photo_column=found.columns.image)


def _unify_labels(rows: Sequence[Row], notes: list[str]) -> list[Row]:
    """Replaces labels that differ only by case, spaces or Unicode form with the most frequent spelling."""
    labels: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for attribute, label in row.labels.items():
            labels[attribute].append(label)
    chosen = {}
    for attribute, found in labels.items():
        unified = unify_spellings(found)
        chosen[attribute] = unified.spellings
        notes += [f"{attribute}: {notice}" for notice in unified.notices]
    return [replace(row, labels={name: chosen[name][label] for name, label in row.labels.items()}) for row in rows]


def _usable_attributes(
    found: Catalogue, rows: Sequence[Row], notes: list[str], min_classes: int, is_for_training: bool
) -> tuple[str, ...]:
    names = dict.fromkeys(name for row in rows for name in row.labels)
    attributes = []
    for name in names:
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
        raise CatalogueError(_too_few_classes(found, names))
    return tuple(attributes)


def _too_few_classes(found: Catalogue, names: dict[str, None]) -> str:
    sentence = (
        f"{found.source}: no label column has 2 classes or more ({len(found.rows)} photos, "
        f"{', '.join(names) or 'none'}). Add photos of another class, as a further class folder or with a label in "
        "the table."
    )
    if found.refused:
        sentence += f" {len(found.refused)} more were refused; the first: {sentence_of(found.refused[0])}"
    return sentence + found.advice


def shorten(names: Sequence[str]) -> str:
    """The first few names, and the number of the others."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
