"""Reads tables (CSV, TSV, JSON Lines, Parquet), detects the meaning of their columns, and writes CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import CatalogueError

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

# Column names that are detected, in this order.
_IMAGE_NAMES = ("image", "photo", "path", "file", "filename", "image_path", "picture")
_PRODUCT_NAMES = ("product_id", "product", "sku", "item_id", "id")
_SPLIT_NAME = "split"
SPLIT_WORDS = {"train": "train", "training": "train", "val": "validation", "validation": "validation", "test": "test"}

# A column with a larger share of distinct values is a description or a price, not a label.
_MAX_DISTINCT_SHARE = 0.5
_MIN_ROWS_TO_JUDGE = 20

Values = Mapping[str, str | None]


@dataclass(frozen=True)
class Columns:
    """The meaning of the columns; before reading, those that the user named.

    Attributes:
        image: column with the path of the photo.
        attributes: label columns.
        product: column that identifies the product of a photo.
    """

    image: str | None = None
    attributes: tuple[str, ...] = ()
    product: str | None = None
    split: str | None = None
    notices: tuple[str, ...] = ()

    def named_attributes(self) -> dict[str, str]:
        """Column -> attribute name, as in tensor names."""
        return {column: re.sub(r"[\s\-]+", "_", column.strip().lower()) for column in self.attributes}


def read_table(file: Path, wanted: Columns) -> tuple[Columns, list[Values]]:
    """Reads the rows as text and finds the columns.

    Raises:
        CatalogueError: the format is unknown, or a column is missing.
    """
    rows = _read_rows(file)
    if not rows:
        raise CatalogueError(f"{file} has 0 rows; expected rows with a photo and a label.")
    names = list(dict.fromkeys(name for row in rows for name in row))
    return _find_columns(file, names, rows, wanted), rows


def _read_rows(file: Path) -> list[Values]:
    suffix = file.suffix.lower()
    try:
        if suffix in (".csv", ".tsv"):
            return _read_csv(file, "\t" if suffix == ".tsv" else ",")
        if suffix in (".jsonl", ".ndjson"):
            return _read_json_lines(file)
        if suffix == ".parquet":
            return _read_parquet(file)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CatalogueError(f"{file} cannot be read: {error}. Expected a UTF-8 text table, or Parquet.") from error
    raise CatalogueError(
        f"{file} has an unknown table format; expected a file name that ends in {', '.join(TABLE_SUFFIXES)}."
    )


def _read_csv(file: Path, delimiter: str) -> list[Values]:
    # utf-8-sig: spreadsheets write a byte order mark, which would become part of the first column name.
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.DictReader(lines, delimiter=delimiter)
        rows: list[Values] = []
        for number, row in enumerate(reader, start=2):
            if None in row:
                raise CatalogueError(
                    f"{file}: line {number} has more fields than the {len(reader.fieldnames or [])} of the header. "
                    "Put fields that contain a comma in double quotes."
                )
            rows.append({name.strip(): _text(value) for name, value in row.items()})
    return rows


def _read_json_lines(file: Path) -> list[Values]:
    rows: list[Values] = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise CatalogueError(
                f"{file}: line {number} is not JSON ({error}). Expected one object per line."
            ) from error
        if not isinstance(row, dict):
            raise CatalogueError(f"{file}: line {number} is a {type(row).__name__}; expected one object per line.")
        rows.append({str(name): _text(value) for name, value in row.items()})
    return rows


def _read_parquet(file: Path) -> list[Values]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise CatalogueError(
            f"{file}: reading Parquet needs pyarrow (`pip install 'pyarrow<26'`). CSV and JSON Lines need no further "
            "package."
        ) from error
    try:
        rows = parquet.read_table(file).to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise CatalogueError(f"{file} is not a valid Parquet file: {error}") from error
    return [{str(name): _text(value) for name, value in row.items()} for row in rows]


def _text(value: Any) -> str | None:
    if value is None or value != value:  # numeric tables use NaN for missing values
        return None
    text = str(value).strip()
    return text or None


def _find_columns(file: Path, names: Sequence[str], rows: Sequence[Values], wanted: Columns) -> Columns:
    def need(name: str) -> str:
        if name not in names:
            raise CatalogueError(f"{file} has no column {name!r}; its columns are {', '.join(map(repr, names))}.")
        return name

    image = need(wanted.image) if wanted.image else _first(names, _IMAGE_NAMES)
    if image is None:
        raise CatalogueError(
            f"{file} has no photo column named {', '.join(_IMAGE_NAMES)}; its columns are "
            f"{', '.join(map(repr, names))}. Name it with --image-column."
        )
    product = need(wanted.product) if wanted.product else _first(names, _PRODUCT_NAMES)
    split = _first(names, (_SPLIT_NAME,))
    if split is not None:
        _check_splits(file, split, rows)
    if wanted.attributes:
        return Columns(image, tuple(map(need, wanted.attributes)), product, split)
    attributes, notices = _guess_attributes([n for n in names if n not in (image, product, split)], rows)
    if not attributes:
        raise CatalogueError(
            f"{file} has no label column; its columns are {', '.join(map(repr, names))}. Name some with --attributes."
        )
    return Columns(image, attributes, product, split, tuple(notices))


def _first(names: Sequence[str], known: Sequence[str]) -> str | None:
    by_lower = {name.strip().lower(): name for name in names}
    return next((by_lower[name] for name in known if name in by_lower), None)


def _check_splits(file: Path, column: str, rows: Sequence[Values]) -> None:
    for number, row in enumerate(rows, start=1):
        word = row.get(column)
        if word is not None and word.lower() not in SPLIT_WORDS:
            raise CatalogueError(
                f"{file}: row {number} has {word!r} in the column {column!r}; expected {', '.join(SPLIT_WORDS)}, "
                "or an empty field."
            )


def _guess_attributes(names: Sequence[str], rows: Sequence[Values]) -> tuple[tuple[str, ...], list[str]]:
    attributes, notices = [], []
    for name in names:
        values = [value for row in rows if (value := row.get(name)) is not None]
        distinct = len(set(values))
        if len(rows) >= _MIN_ROWS_TO_JUDGE and values and distinct > _MAX_DISTINCT_SHARE * len(values):
            notices.append(
                f"The column {name!r} has {distinct} values in {len(values)} rows and is not used as labels; "
                f"--attributes {name} would use it."
            )
        elif values:
            attributes.append(name)
    return tuple(attributes), notices


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A CSV table with a header, in UTF-8."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue().encode()
