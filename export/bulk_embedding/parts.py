"""Parts of a catalogue: each has some rows and one Parquet file, which is named by the digest of the rows.

A part file is written atomically; an existing file means that the part is done.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import BulkEmbeddingError, WrongUsage
from triptych import CatalogueItem, EmbeddedRow, RefusedRow, TriptychError
from triptych.catalogue.embedded_files import find_refused
from triptych.catalogue.files import read_catalogue
from triptych.catalogue.importing import row_key
from triptych.sources.report import Skipped

# Rows per part: an interruption repeats at most one part per worker.
PART_ROWS = 256
REFUSED = "refused.csv"


@dataclass(frozen=True)
class Part:
    """Rows of the catalogue that are embedded together, and the name of their Parquet file."""

    name: str
    items: tuple[CatalogueItem, ...]


def read_parts(
    catalogue: Path, fingerprint: str, refused: list[RefusedRow], passed_over: list[Skipped]
) -> Iterator[Part]:
    """The rows of a catalogue in parts; adds unreadable rows to `refused`, and at the end what was skipped.

    Raises:
        WrongUsage: the catalogue cannot be read.
    """
    items: list[CatalogueItem] = []
    number = 0
    try:
        rows = read_catalogue(catalogue)
        for row in rows:
            if isinstance(row, RefusedRow):
                refused.append(row)
                continue
            items.append(row)
            if len(items) == PART_ROWS:
                yield _part(number, items, fingerprint)
                items, number = [], number + 1
        passed_over += rows.skipped
    except (TriptychError, ModuleNotFoundError) as error:
        raise WrongUsage(str(error)) from error
    if items:
        yield _part(number, items, fingerprint)


def _part(number: int, items: list[CatalogueItem], fingerprint: str) -> Part:
    digest = hashlib.sha256(fingerprint.encode())
    for item in items:
        digest.update(row_key(item).encode())
    return Part(f"part-{number:06d}-{digest.hexdigest()[:16]}.parquet", tuple(items))


def is_done(file: Path, retry_refused: bool) -> bool:
    """Whether the file of a part exists and, with `retry_refused`, has no refused photo."""
    if not file.exists():
        return False
    return not retry_refused or not read_refused(file)


def read_refused(file: Path) -> list[RefusedRow]:
    """The refused photos in the file of a part."""
    try:
        return find_refused(file)
    except TriptychError as error:
        raise BulkEmbeddingError(
            f"{error} Remove the file and run the command again, which writes it again."
        ) from error


def to_columns(row: EmbeddedRow | RefusedRow) -> dict[str, Any]:
    """The columns of the Parquet file for one row."""
    if isinstance(row, RefusedRow):
        return {"product_id": row.product_id, "photo_id": row.photo, "error": row.reason}
    product_id, photo_id = row.item.key
    return {
        "product_id": product_id,
        "photo_id": photo_id,
        "fields": json.dumps(dict(row.item.fields), ensure_ascii=False),
        "embedding": row.prepared.vector,
        "image_digest": row.prepared.image_digest,
        "phash": row.prepared.phash,
        "fingerprint": row.fingerprint,
    }


def write_refused(file: Path, refused: Iterable[RefusedRow]) -> None:
    """Writes a CSV of all refused photos; removes the file if there are none."""
    rows = list(refused)
    if not rows:
        file.unlink(missing_ok=True)
        return
    with open(file, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(("product_id", "photo", "reason"))
        writer.writerows((row.product_id, row.photo, row.reason) for row in rows)
