"""What a catalogue holds, for `--dry-run`: classes, splits and counts, what was skipped, refused and understood."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from export.training.dataset.catalogue import ReadingOptions, Row, read_catalogue, shorten
from export.training.dataset.refused import describe_refused, sentence_of
from export.training.dataset.split import SPLITS

_MOST_CLASSES = 40
# Of a file of the same size: equal beginnings and ends are an equal photo.
_COMPARED_BYTES = 1 << 16


def show_catalogue(
    source: Path, options: ReadingOptions, console: Console, *, min_classes: int, is_for_training: bool
) -> dict[str, Any]:
    """Reads a catalogue and prints what it holds; opens photos only to find equal ones with different labels.

    Returns:
        A report for JSON; its exit code is 1 if rows are refused.

    Raises:
        CatalogueError: as for training.
    """
    catalogue = read_catalogue(source, options, min_classes, is_for_training=is_for_training)
    notices = [*catalogue.notices, *_equal_photos(catalogue.rows)]
    splits = Counter(row.split for row in catalogue.rows if row.split is not None)
    console.print(f"{source}: {len(catalogue.rows)} photos with a label, of {catalogue.read} read.", markup=False)
    attributes = {name: _counts(catalogue.rows, name) for name in catalogue.attributes}
    for name, classes in attributes.items():
        console.print(f"{name}: {len(classes)} classes", markup=False)
        for label, counts in list(classes.items())[:_MOST_CLASSES]:
            console.print(f"    {label}: {_line(counts)}", markup=False)
        if len(classes) > _MOST_CLASSES:
            console.print(f"    ... and {len(classes) - _MOST_CLASSES} more", markup=False)
    for notice in notices:
        console.print(f"note: {notice}", markup=False)
    if catalogue.refused:
        describe_refused(catalogue.refused, catalogue.read, console)
    console.print("This was a dry run: nothing was computed and nothing was written.")
    return {
        "dry_run": True,
        "photos": len(catalogue.rows),
        "read": catalogue.read,
        "unlabelled": catalogue.unlabelled,
        "attributes": {name: {label: each.total() for label, each in one.items()} for name, one in attributes.items()},
        "splits": {name: splits[name] for name in SPLITS if name in splits},
        "refused": [sentence_of(one) for one in catalogue.refused],
        "skipped": [each.as_json() for each in catalogue.skipped],
        "notices": notices,
        "exit_code": 1 if catalogue.refused else 0,
    }


def _counts(rows: Sequence[Row], attribute: str) -> dict[str, Counter[str]]:
    """Label -> photos by split, the label with most photos first; "" is no split."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if attribute in row.labels:
            counts[row.labels[attribute]][row.split or ""] += 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1].total(), item[0])))


def _line(counts: Counter[str]) -> str:
    parts = [f"{counts[split]} {split}" for split in SPLITS if counts[split]]
    return f"{counts.total()} photos" + (f" ({', '.join(parts)})" if parts else "")


def _equal_photos(rows: Sequence[Row]) -> list[str]:
    """Photos of the same content with different labels or splits; only files of the same size are opened."""
    by_size: defaultdict[int, list[Row]] = defaultdict(list)
    for row in rows:
        try:
            by_size[row.photo.stat().st_size].append(row)
        except OSError:  # training says which photos cannot be read
            continue
    by_size.pop(0, None)
    pairs = [pair for alike in by_size.values() if len(alike) > 1 for pair in _equal_in(alike)]
    differ = [
        f"{row.photo} ({', '.join(row.labels.values())}) is {before.photo}"
        for row, before in pairs
        if any(before.labels.get(name, label) != label for name, label in row.labels.items())
    ]
    leaks = [f"{row.photo} is {before.photo}" for row, before in pairs if row.split != before.split]
    return [
        f"{len(found)} photos are identical files {what}: {shorten(found)}."
        for found, what in ((differ, "with different labels"), (leaks, "in different splits"))
        if found
    ]


def _equal_in(rows: Sequence[Row]) -> Iterator[tuple[Row, Row]]:
    """Rows with the first row of the same content."""
    first: dict[bytes, Row] = {}
    for row in rows:
        try:
            digest = _digest(row.photo)
        except OSError:
            continue
        before = first.setdefault(digest, row)
        if before is not row:
            yield row, before


def _digest(photo: Path) -> bytes:
    with photo.open("rb") as file:
        start = file.read(_COMPARED_BYTES)
        file.seek(max(0, photo.stat().st_size - _COMPARED_BYTES))
        return hashlib.sha256(start + file.read(_COMPARED_BYTES)).digest()
