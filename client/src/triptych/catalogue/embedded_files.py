"""Catalogues that `triptych bulk-embed` has embedded: Parquet files in a folder.

One row per photo: `product_id`, `photo_id`, `fields` (JSON), `embedding` list<float> of D numbers, `image_digest`,
`phash`, `fingerprint` of the embedder, `error`. A refused photo has an `error`, no embedding, and its location as
`photo_id`. Sends nothing.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from triptych._core.catalogue import MAX_ITEMS, CatalogueItem, PreparedPhoto
from triptych._optional import require
from triptych.catalogue.importing import Batch, ImportReport, Journal
from triptych.errors import InvalidInput
from triptych.sources.rows import RefusedRow

_TEXTS = ("product_id", "photo_id", "fields", "image_digest", "phash", "fingerprint", "error")
COLUMNS = (*_TEXTS, "embedding")


@dataclass(frozen=True, slots=True)
class EmbeddedRow:
    """A photo of a product with its embedding.

    Attributes:
        item: ids and fields; its image is empty if the row was read from a file.
        prepared: embedding and hashes.
        fingerprint: of the embedder that embedded it.
    """

    item: CatalogueItem
    prepared: PreparedPhoto
    fingerprint: str


def embedded_rows(batch: Batch | None, fingerprint: str) -> Iterator[EmbeddedRow]:
    """The rows of a batch that was just embedded."""
    for item, prepared in batch or ():
        yield EmbeddedRow(item, prepared, fingerprint)


def find_embedded(path: str | os.PathLike[str]) -> list[Path]:
    """The Parquet files of a folder, or one file.

    Raises:
        InvalidInput: there are no such files.
    """
    place = Path(path)
    found = sorted(place.glob("*.parquet")) if place.is_dir() else [place] if place.is_file() else []
    if not found:
        raise InvalidInput(
            f"There are no embeddings in {os.fspath(path)!r}; expected a folder of Parquet files, as "
            "`triptych bulk-embed` writes it, or one of them."
        )
    return found


def read_embedded(file: Path) -> Iterator[EmbeddedRow | RefusedRow]:
    """The rows of one file.

    Raises:
        InvalidInput: the file has another format.
        ModuleNotFoundError: the extra `parquet` is not installed.
    """
    arrow = require("pyarrow", extra="parquet", wanted_by=f"Reading {file}")
    parquet = require("pyarrow.parquet", extra="parquet", wanted_by=f"Reading {file}")
    try:
        table = parquet.ParquetFile(file)
        missing = [name for name in COLUMNS if name not in table.schema_arrow.names]
        if missing:
            raise InvalidInput(
                f"{str(file)!r} has no column {missing[0]!r}; expected {', '.join(COLUMNS)}. Import a catalogue that "
                "is not embedded with `import_file`."
            )
        number = 0
        for batch in table.iter_batches(256, columns=list(COLUMNS)):
            texts = [batch.column(name).to_pylist() for name in _TEXTS]
            for row, embedding in zip(zip(*texts, strict=True), batch.column("embedding"), strict=True):
                number += 1
                yield _row(file, number, dict(zip(_TEXTS, row, strict=True)), embedding)
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise InvalidInput(f"{str(file)!r} cannot be read as embeddings ({error}).") from error


def find_refused(file: Path) -> list[RefusedRow]:
    """The rows of one file that have an `error`; reads no embedding.

    Raises:
        InvalidInput, ModuleNotFoundError: as `read_embedded`.
    """
    arrow = require("pyarrow", extra="parquet", wanted_by=f"Reading {file}")
    parquet = require("pyarrow.parquet", extra="parquet", wanted_by=f"Reading {file}")
    try:
        rows = parquet.read_table(file, columns=["product_id", "photo_id", "error"]).to_pylist()
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise InvalidInput(f"{str(file)!r} cannot be read as embeddings ({error}).") from error
    return [
        RefusedRow(number, row["product_id"], row["photo_id"], row["error"], code=None)
        for number, row in enumerate(rows, start=1)
        if row["error"] is not None
    ]


def write_embedded(file: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Writes rows of `COLUMNS` (embedding: float32[D] or None) as one Parquet file to an open binary file."""
    arrow = require("pyarrow", extra="parquet", wanted_by="Writing embeddings")
    parquet = require("pyarrow.parquet", extra="parquet", wanted_by="Writing embeddings")
    kept = list(rows)
    # No fixed-size list: pyarrow 25 cannot read a null of such a list.
    types = {**dict.fromkeys(_TEXTS, arrow.string()), "embedding": arrow.list_(arrow.float32())}
    columns = {name: arrow.array([row.get(name) for row in kept], types[name]) for name in COLUMNS}
    parquet.write_table(arrow.table(columns), file, compression="zstd", use_dictionary=False)


class EmbeddedLoading:
    """One run of an import of embeddings: batches and report.

    Args:
        files: see `find_embedded`.
        journal: the files that an earlier run has added to the catalogue.
    """

    def __init__(self, files: list[Path], journal: Journal) -> None:
        self._files = files
        self._journal = journal
        self._upserted = self._skipped = 0
        self._refused: list[RefusedRow] = []

    def batches(self) -> Iterator[tuple[Batch, str]]:
        """Yields the batch of one upsert, with the embedder's fingerprint; the next step acknowledges the batch."""
        for file in self._files:
            status = file.stat()
            key = f"{file.name} {status.st_size} {status.st_mtime_ns}"
            rows = list(read_embedded(file))
            self._refused += [row for row in rows if isinstance(row, RefusedRow)]
            if key in self._journal:
                self._skipped += sum(isinstance(row, EmbeddedRow) for row in rows)
                continue
            embedded = [row for row in rows if isinstance(row, EmbeddedRow)]
            for fingerprint in dict.fromkeys(row.fingerprint for row in embedded):
                alike = [(row.item, row.prepared) for row in embedded if row.fingerprint == fingerprint]
                for start in range(0, len(alike), MAX_ITEMS):
                    batch = alike[start : start + MAX_ITEMS]
                    yield batch, fingerprint
                    self._upserted += len(batch)
            self._journal.add([key])

    def report(self) -> ImportReport:
        """The report of the rows so far."""
        return ImportReport(self._upserted, self._skipped, tuple(self._refused), len(self._refused))


def _row(file: Path, number: int, said: dict[str, Any], embedding: Any) -> EmbeddedRow | RefusedRow:
    product_id = said["product_id"]
    vector = None if embedding.values is None else embedding.values.to_numpy().astype(np.float32)
    if said["error"] is not None or not product_id or vector is None or not vector.size:
        reason = said["error"] or "it has no product_id or no embedding. Embed the catalogue again."
        code = InvalidInput.code if said["error"] is None else None
        return RefusedRow(number, product_id, said["photo_id"] or file.name, reason, code=code)
    try:
        fields = json.loads(said["fields"] or "{}")
    except ValueError as error:
        return RefusedRow(number, product_id, file.name, f"its fields are no JSON ({error}).")
    item = CatalogueItem(product_id, b"", fields, said["photo_id"])
    return EmbeddedRow(item, PreparedPhoto(vector, said["image_digest"], said["phash"]), said["fingerprint"] or "")
