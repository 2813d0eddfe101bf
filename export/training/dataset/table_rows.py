"""Turns the rows of a table into photos with labels; a row with a fault is refused with its place and reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export.errors import CatalogueError
from export.training.dataset.rows import ReadingOptions, Row
from export.training.dataset.tables import Columns, read_table, text_of
from triptych.errors import InvalidInput
from triptych.sources.labels import split_of
from triptych.sources.locations import PhotoFolder
from triptych.sources.photo_cells import photos_of
from triptych.sources.rows import RefusedRow
from triptych.sources.rows import Row as SourceRow
from triptych.sources.table import Table

_LONGEST_LABEL = 200
_LONGEST_VALUE = 80


@dataclass(frozen=True)
class TableRows:
    """Rows of a table.

    Attributes:
        rows: one for each photo.
        refused: rows that are not used, in their order.
        unlabelled: number of rows without a label.
        read: number of rows of the table.
        notices: a sentence for each thing that was found out.
    """

    table: Table
    columns: Columns
    rows: tuple[Row, ...]
    refused: tuple[RefusedRow, ...]
    unlabelled: int
    read: int
    notices: tuple[str, ...]


class _RowFault(Exception):
    """What is wrong with one row.

    Args:
        column: at fault.
        value: of this column.
        reason: a sentence, with the next step.
    """

    def __init__(self, column: str, value: Any, reason: str) -> None:
        super().__init__(reason)
        self.column, self.value = column, None if value is None else _shortened(str(value))


def read_rows(source: Path, options: ReadingOptions) -> TableRows:
    """Reads a table.

    Raises:
        CatalogueError: the table cannot be read at all, a column is missing, or no row can be used.
    """
    read = read_table(source, options.columns, options.table)
    reader = _Reader(source.parent, read.columns)
    rows: list[Row] = []
    refused = list(read.refused)
    unlabelled = 0
    for row in read.rows:
        try:
            found = list(reader.rows_of(row))
        except _RowFault as fault:
            refused.append(reader.refusal(row, fault))
            continue
        rows += found
        unlabelled += not found
    refused.sort(key=lambda one: one.row)
    total = len(read.rows) + len(read.refused)
    if not rows:
        first = f" The first: {refused[0]}" if refused else " None of them has a label."
        raise CatalogueError(f"{source}: none of the {total} rows can be used.{first}")
    notices = (*read.understood, *read.columns.notices, *reader.notices())
    return TableRows(read.table, read.columns, tuple(rows), tuple(refused), unlabelled, total, notices)


class _Reader:
    """Reads single rows, and counts photos that were found under another name."""

    def __init__(self, folder: Path, columns: Columns) -> None:
        self._folder, self._columns = folder, columns
        self._photos = PhotoFolder(folder, is_given=True)
        self._attributes = columns.named_attributes()
        self._renamed: dict[str, list[str]] = {}

    def rows_of(self, row: SourceRow) -> Iterator[Row]:
        """A row for each photo; none for a row without a label."""
        photos = self._photos_of(row.values)
        labels = self._labels_of(row.values)
        split = self._split_of(row.values)
        if not labels:
            return
        product = self._text(row.values, self._columns.product)
        if product is None and len(photos) > 1:
            product = f"row {row.number}"
        for photo in photos:
            yield Row(photo, labels, product, split, row.number, row.line)

    def refusal(self, row: SourceRow, fault: _RowFault) -> RefusedRow:
        photo = row.values.get(self._columns.image or "")
        product = row.values.get(self._columns.product or "")
        return RefusedRow(
            row.number,
            None if product is None else _shortened(str(product)),
            photo if isinstance(photo, str) else None,
            str(fault),
            line=row.line,
            column=fault.column,
            value=fault.value,
            values=row.values,
        )

    def notices(self) -> Iterator[str]:
        for how, named in self._renamed.items():
            more = ", ..." if len(named) > 3 else ""
            yield f"Photos {how} ({len(named)}): {', '.join(named[:3])}{more}."

    def _photos_of(self, values: Mapping[str, Any]) -> list[Path]:
        column = self._columns.image or ""
        value = values.get(column)
        if isinstance(value, str) and (self._folder / value).is_file():
            parts: list[Any] = [value]
        else:
            try:
                parts = list(photos_of(value))
            except InvalidInput as error:
                raise _RowFault(column, value, str(error)) from error
        if not parts:
            raise _RowFault(column, None, f"it has no photo in the column {column!r}. Add the path, or remove the row.")
        return [self._file_of(column, part) for part in parts]

    def _file_of(self, column: str, part: Any) -> Path:
        if not isinstance(part, str):
            raise _RowFault(
                column, None, "its photo stands in the table itself. Training reads files: save it, and name the file."
            )
        try:
            found = self._photos.locate(part)
        except InvalidInput as error:
            raise _RowFault(column, part, self._sentence(part, str(error))) from error
        if not isinstance(found.image, str) or found.image.lower().startswith(("http://", "https://")):
            raise _RowFault(
                column,
                part,
                f"{_shortened(part)!r} is an address. Training reads files: download it, and name the file.",
            )
        if found.note is not None:
            self._renamed.setdefault(found.note, []).append(part)
        return Path(found.image)

    def _sentence(self, part: str, sentence: str) -> str:
        try:
            is_inside = (self._folder / part.strip()).resolve().is_relative_to(self._folder.resolve())
        except (OSError, ValueError, RuntimeError):
            return sentence
        if is_inside:
            return sentence
        return (
            f"{_shortened(part)!r} is outside the folder {str(self._folder)!r}. Copy the photo into that folder, and "
            "use a path relative to it."
        )

    def _labels_of(self, values: Mapping[str, Any]) -> dict[str, str]:
        labels = {}
        for column, attribute in self._attributes.items():
            label = self._text(values, column)
            if label is None:
                continue
            if len(label) > _LONGEST_LABEL:
                raise _RowFault(
                    column,
                    label,
                    f"the label in {column!r} has {len(label)} characters; expected {_LONGEST_LABEL} or fewer.",
                )
            labels[attribute] = label
        return labels

    def _split_of(self, values: Mapping[str, Any]) -> str | None:
        word = self._text(values, self._columns.split)
        split = None if word is None else split_of(word)
        if word is not None and split is None:
            raise _RowFault(
                self._columns.split or "",
                word,
                f"{_shortened(word)!r} is no split; expected train, validation, test, or an empty cell.",
            )
        return split

    def _text(self, values: Mapping[str, Any], column: str | None) -> str | None:
        if column is None:
            return None
        value = values.get(column)
        try:
            text = text_of(value)
            if text is not None:
                text.encode()
        except UnicodeEncodeError as error:
            raise _RowFault(
                column, ascii(value), f"the column {column!r} has half a character. Type it again."
            ) from error
        except ValueError as error:
            raise _RowFault(column, value, f"the column {column!r} has {error}.") from error
        return text


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}..."
