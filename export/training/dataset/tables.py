"""Reads tables through the client's reader, detects the meaning of their columns, and writes CSV.

Owns: which columns are the photo, the labels, the product and the split. Opens no photo.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.errors import CatalogueError
from triptych.errors import InvalidInput
from triptych.sources.columns import map_columns, plain
from triptych.sources.labels import SPLIT_WORDS, split_of
from triptych.sources.numbers_text import shape_of
from triptych.sources.rejects import is_extra
from triptych.sources.rows import RefusedRow, Row
from triptych.sources.table import TABLE_SUFFIXES, Table, TableOptions, open_table

__all__ = ["SPLIT_WORDS", "TABLE_SUFFIXES", "Columns", "ReadTable", "read_table", "to_csv"]

# Column names that are detected, in this order.
_IMAGE_NAMES = ("image", "photo", "path", "file", "filename", "file_name", "image_path", "picture")
_PRODUCT_NAMES = ("product_id", "product", "sku", "item_id", "id")
_SPLIT_NAMES = ("split", "subset", "partition", "set", "usage")
# Columns that `label suggest`, `label auto` and `label check` write: answers of a model, which are no labels.
_PROGRESS = frozenset({"guess", "score", "margin", "label_score", "guess_score"})
_PROGRESS_MARKS = _PROGRESS - {"guess"}

# A column with a larger share of distinct values is a description or a price, not a label.
_MAX_DISTINCT_SHARE = 0.5
_MIN_ROWS_TO_JUDGE = 20
# A column with a larger share of numbers is one of prices, stocks or sizes, unless its name says that it has labels.
_MAX_NUMBER_SHARE = 0.9
_LABEL_NAMES = frozenset({"category", "class", "label"})
_ATTRIBUTE_LENGTH = 40


@dataclass(frozen=True)
class Columns:
    """The meaning of the columns; before reading, those that the user named.

    Attributes:
        image: column with the path of the photo.
        attributes: label columns.
        product: column that identifies the product of a photo.
        split: column with the split of the photo.
        notices: about columns that are not used.
    """

    image: str | None = None
    attributes: tuple[str, ...] = ()
    product: str | None = None
    split: str | None = None
    notices: tuple[str, ...] = ()

    def named_attributes(self) -> dict[str, str]:
        """Column -> attribute name, as in tensor names; columns without a name of their own are left out."""
        named: dict[str, str] = {}
        for column in self.attributes:
            name = attribute_name(column)
            if name and name not in named.values():
                named[column] = name
        return named


@dataclass(frozen=True)
class ReadTable:
    """The rows of a table, and the meaning of its columns.

    Attributes:
        rows: that could be read, with their values as they stand in the table.
        refused: damaged rows.
        understood: sentences about format, encoding, delimiter and columns.
    """

    table: Table
    columns: Columns
    rows: tuple[Row, ...]
    refused: tuple[RefusedRow, ...]
    understood: tuple[str, ...]


@dataclass
class _ColumnCounts:
    """What a column holds."""

    filled: int = 0
    numbers: int = 0
    missing: int = 0
    is_nested: bool = False
    distinct: set[str] = field(default_factory=set)
    splits: int = 0

    def add(self, value: Any) -> None:
        self.filled += 1
        if isinstance(value, str):
            kind = shape_of(value).kind
            self.numbers += kind in ("number", "code")
            self.missing += kind == "missing"
            self.splits += split_of(value) is not None
        else:
            self.numbers += isinstance(value, (int, float)) and not isinstance(value, bool)
            self.is_nested = self.is_nested or isinstance(value, (dict, bytes))
        self.distinct.add(value if isinstance(value, str) else repr(value))


def read_table(file: Path, wanted: Columns, options: TableOptions | None = None) -> ReadTable:
    """Reads the rows and finds the columns.

    Raises:
        CatalogueError: the table cannot be read at all, or a column is missing.
    """
    try:
        table = open_table(file, options)
        read = list(table)
    except (InvalidInput, ModuleNotFoundError) as error:
        raise CatalogueError(str(error)) from error
    except OSError as error:
        raise CatalogueError(f"{file} cannot be read: {error.strerror or error}.") from error
    rows = tuple(row for row in read if isinstance(row, Row))
    refused = tuple(row for row in read if isinstance(row, RefusedRow))
    if not rows:
        first = f" The first of {len(refused)} damaged rows is {refused[0]}" if refused else ""
        raise CatalogueError(f"{file} has 0 rows that can be read; expected rows with a photo and a label.{first}")
    columns = _Finder(file, table.columns, rows).find(wanted)
    understood = (f"read as {table.format}", *table.understood, *_state(columns))
    return ReadTable(table, columns, rows, refused, understood)


def attribute_name(column: str) -> str:
    """The name of an attribute in tensors and files: a-z, 0-9 and _; "" for a column without such characters."""
    decomposed = unicodedata.normalize("NFKD", column.replace("ß", "ss").lower())
    name = re.sub(r"[^a-z0-9]+", "_", "".join(sign for sign in decomposed if not unicodedata.combining(sign)))
    return name.lstrip("_0123456789").rstrip("_")[:_ATTRIBUTE_LENGTH].rstrip("_")


def _state(columns: Columns) -> list[str]:
    stated = [f"photo: column {columns.image!r}"]
    stated += [
        f"{role}: column {name!r}" for role, name in (("product", columns.product), ("split", columns.split)) if name
    ]
    return [
        *stated,
        "labels: " + ", ".join(f"column {one!r} as {two}" for one, two in columns.named_attributes().items()),
    ]


class _Finder:
    """Finds the columns of one table."""

    def __init__(self, file: Path, names: Sequence[str], rows: Sequence[Row]) -> None:
        self._file, self._names, self._count = file, names, len(rows)
        self._counts_by_column: dict[str, _ColumnCounts] = {name: _ColumnCounts() for name in names}
        for row in rows:
            for name, value in row.values.items():
                self._counts_by_column.setdefault(name, _ColumnCounts()).add(value)
        self._names = list(self._counts_by_column)

    def find(self, wanted: Columns) -> Columns:
        image = self._need(wanted.image) if wanted.image else self._image()
        product = self._need(wanted.product) if wanted.product else self._first(_PRODUCT_NAMES)
        split = self._split({image, product})
        if wanted.attributes:
            attributes = tuple(dict.fromkeys(map(self._need, wanted.attributes)))
            notices = self._names_clash(attributes, is_asked=True)
        else:
            left = [name for name in self._names if name not in (image, product, split, *self._photos())]
            attributes, notices = self._guess(left)
            notices += self._names_clash(attributes, is_asked=False)
        columns = Columns(image, attributes, product, split, (*notices, *self._doubts(attributes)))
        if not columns.named_attributes():
            raise CatalogueError(
                f"{self._file} has no label column; its columns are {self._listed()}. Name some with --attributes."
                + "".join(f" {notice}" for notice in notices)
            )
        return columns

    def _need(self, name: str) -> str:
        if name in self._names:
            return name
        alike = [each for each in self._names if plain(each) == plain(name)]
        if len(alike) == 1:
            return alike[0]
        near = difflib.get_close_matches(plain(name), [plain(each) for each in self._names], 3, 0.6)
        advice = [each for each in self._names if plain(each) in near]
        said = f" Did you mean {' or '.join(map(repr, advice))}?" if advice else ""
        raise CatalogueError(f"{self._file} has no column {name!r}; its columns are {self._listed()}.{said}")

    def _image(self) -> str:
        found = self._first(_IMAGE_NAMES) or next(iter(self._photos()), None)
        if found is None:
            raise CatalogueError(
                f"{self._file} has no photo column named {', '.join(_IMAGE_NAMES)}; its columns are {self._listed()}. "
                "Name it with --image-column."
            )
        return found

    def _photos(self) -> tuple[str, ...]:
        """The columns of photos, as an import of the table would find them."""
        try:
            return map_columns(self._names, {"product_id": self._names[:1]}, str(self._file)).photos
        except InvalidInput:
            return ()

    def _split(self, taken: set[str | None]) -> str | None:
        """A column of this name; one of the other names only if every value is that of a split."""
        for name in self._names:
            counts = self._counts_by_column[name]
            is_named = plain(name) == _SPLIT_NAMES[0]
            is_whole = plain(name) in _SPLIT_NAMES and counts.splits == counts.filled > 0
            if name not in taken and (is_named or is_whole):
                return name
        return None

    def _guess(self, names: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
        attributes, notices = [], []
        progress = self._progress(names)
        if progress:
            notices.append(
                f"The columns {', '.join(progress)} are guesses of a model (`label`), and are not used as labels."
            )
        for name in names:
            counts = self._counts_by_column[name]
            reason = self._why_no_labels(name, counts)
            if name in progress or name in is_extra(self._names) or not counts.filled:
                continue
            if reason is None:
                attributes.append(name)
            else:
                notices.append(
                    f"The column {name!r} has {reason} and is not used as labels; --attributes {name!r} would use it."
                )
        return tuple(attributes), notices

    def _why_no_labels(self, name: str, counts: _ColumnCounts) -> str | None:
        if counts.is_nested:
            return "values that are lists of fields or bytes"
        if counts.numbers > _MAX_NUMBER_SHARE * counts.filled and plain(name) not in _LABEL_NAMES:
            return "numbers"
        is_judged = self._count >= _MIN_ROWS_TO_JUDGE
        if is_judged and counts.filled and len(counts.distinct) > _MAX_DISTINCT_SHARE * counts.filled:
            return f"{len(counts.distinct)} values in {counts.filled} rows"
        return None

    def _doubts(self, attributes: Sequence[str]) -> list[str]:
        """Notices about labels that may be none."""
        notices = []
        for name in attributes:
            counts = self._counts_by_column[name]
            if counts.numbers:
                notices.append(f"{counts.numbers} of {counts.filled} labels of {name!r} are numbers, used as text.")
            if counts.missing:
                notices.append(
                    f"{counts.missing} of {counts.filled} labels of {name!r} are words such as n/a or -, and are a "
                    "class as any other. Empty these cells if they mean that there is no label."
                )
        return notices

    def _progress(self, names: Sequence[str]) -> list[str]:
        """The columns of the tables that `label` writes; a lone "guess" is a column of the user's own."""
        lower = {name.strip().lower(): name for name in names}
        if _PROGRESS_MARKS.isdisjoint(lower):
            return []
        return [name for known, name in lower.items() if known in _PROGRESS]

    def _names_clash(self, attributes: Sequence[str], *, is_asked: bool) -> list[str]:
        """Notices about columns whose name cannot be that of an attribute, or is taken by another one."""
        counts = Counter(map(attribute_name, attributes))
        notices = []
        for column in attributes:
            name = attribute_name(column)
            if not name and is_asked:
                raise CatalogueError(
                    f"{self._file}: the column name {column!r} cannot be an output name; expected a name with letters "
                    "a-z. Rename it in the table."
                )
            if not name:
                notices.append(f"The column {column!r} is left out: its name has no letters a-z. Rename it to use it.")
            elif counts[name] > 1:
                notices.append(f"Several columns would be the attribute {name}; the first of them is used.")
                counts[name] = 1
        return notices

    def _first(self, known: Sequence[str]) -> str | None:
        by_lower = {name.strip().lower(): name for name in self._names}
        return next((by_lower[name] for name in known if name in by_lower), None)

    def _listed(self) -> str:
        return ", ".join(map(repr, self._names))


def text_of(value: Any) -> str | None:
    """A value as a label: a number as it is written, without ".0"; None for none.

    Raises:
        ValueError: the value is not one text, number or truth value.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if value is None or value != value:  # numeric tables use NaN for missing values
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, (str, int, float)):
        kind = f"{len(value)} values" if isinstance(value, (list, tuple)) else f"a value of type {type(value).__name__}"
        raise ValueError(f"{kind}, expected one text")
    return " ".join(str(value).split()) or None


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """A CSV table with a header, in UTF-8; bytes of file names that are not UTF-8 become escapes."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return file.getvalue().encode(errors="backslashreplace")
