"""Reads catalogues from tables, feeds and folders of photos -> items and refused rows. Sends nothing."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from triptych._core.catalogue import CatalogueItem
from triptych._optional import require
from triptych.catalogue.folders import read_folder
from triptych.catalogue.table_rows import TableReading
from triptych.errors import InvalidInput
from triptych.sources.columns import map_columns, read_map
from triptych.sources.decisions import decide
from triptych.sources.locations import PhotoFolder
from triptych.sources.rejects import RejectsFile, is_extra, read_rules, rejects_path
from triptych.sources.report import SkipCounter, Skipped, Understanding
from triptych.sources.rows import RefusedRow, Row
from triptych.sources.table import DELIMITED, Table, TableOptions, open_table
from triptych.sources.values import ColumnCounts, ValueOptions

# Columns whose values are decided; rows of JSON may name any number.
_MOST_COLUMNS = 10_000


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user decides about a catalogue's table; by default everything is found out.

    Attributes:
        columns: columns by role (product_id, photo, photo_id), or texts such as "id=SKU,photo=Image Src".
        text: columns that stay text.
        decimal: decimal mark of the numbers, "," or ".".
        photos: folder that relative paths of photos start from; by default the table's.
        encoding, delimiter, sheet: see `TableOptions`.
    """

    columns: Mapping[str, str | Sequence[str]] | Sequence[str] | str | None = None
    text: Sequence[str] = ()
    decimal: str | None = None
    photos: str | os.PathLike[str] | None = None
    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None

    def mapping(self) -> dict[str, tuple[str, ...]]:
        """The columns by role."""
        given = self.columns
        if given is None:
            return {}
        if isinstance(given, Mapping):
            parts = [(role, [names] if isinstance(names, str) else names) for role, names in given.items()]
            return read_map([f'{role}="{name}"' for role, names in parts for name in names])
        return read_map([given] if isinstance(given, str) else given)


@dataclass(frozen=True, slots=True)
class Sourced:
    """An item, and the row that it is from.

    Attributes:
        item: for the catalogue.
        row: of the table; its values are those that a file of refused rows needs.
    """

    item: CatalogueItem
    row: Row


@dataclass
class CatalogueRows:
    """A catalogue that was opened: iterating reads its rows in their order.

    Attributes:
        understanding: how it was understood.
        columns: of the table; none for a folder.
        rules: how it was understood, for `RejectsFile`.
        rows: how many there are; None where that is not known.
        path: of the table or folder.
        is_delimited: whether refused rows are written as CSV.
        read: how many rows were read so far.
    """

    path: Path
    understanding: Understanding
    reading: TableReading | None = None
    columns: tuple[str, ...] = ()
    rules: Mapping[str, object] = field(default_factory=dict)
    rows: int | None = None
    is_delimited: bool = False
    read: int = 0
    skips: SkipCounter = field(default_factory=SkipCounter)
    _iterator: Iterator[CatalogueItem | RefusedRow] | None = None

    def __iter__(self) -> Iterator[CatalogueItem | RefusedRow]:
        """The items and refused rows; see `sourced`."""
        for each in self.sourced():
            yield each.item if isinstance(each, Sourced) else each

    def sourced(self) -> Iterator[Sourced | RefusedRow]:
        """The items with their rows, and the refused rows; sets `read` and `skips` anew."""
        self.read, self.skips = 0, SkipCounter()
        if self.reading is None:
            yield from self._of_folder()
            return
        for row in self.reading.table:
            self.read += 1
            if isinstance(row, RefusedRow):
                yield self.reading.named(row)
                continue
            for item in self.reading.items(row, self.skips):
                yield item if isinstance(item, RefusedRow) else Sourced(item, self.reading.origin)

    def _of_folder(self) -> Iterator[Sourced | RefusedRow]:
        for number, item in enumerate(read_folder(self.path, self.skips), start=1):
            self.read = number
            if isinstance(item, RefusedRow):
                yield item
            elif item is not None:
                yield Sourced(item, Row(number, None, {"product_id": item.product_id, "photo": item.fields["photo"]}))

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """What was passed over so far, by reason."""
        return self.skips.skipped()

    @property
    def notes(self) -> tuple[Skipped, ...]:
        """How photos were found whose names are written in another way, with counts."""
        return () if self.reading is None else self.reading.notes.skipped()


def rejects_file(rows: CatalogueRows, path: str | os.PathLike[str] | None) -> RejectsFile:
    """The file of the refused rows of a catalogue; by default beside it."""
    source = rows.path if rows.path.name else Path(os.path.abspath(rows.path))
    place = rejects_path(source, rows.is_delimited) if path is None else Path(path)
    return RejectsFile(place, rows.columns, rows.rules)


def read_catalogue(
    path: str | os.PathLike[str], options: ImportOptions | None = None, *, progress: bool = False
) -> CatalogueRows:
    """Opens a catalogue: decides what its columns are over all its rows, before the first is used.

    Args:
        path: of the file or folder.
        options: what the user decides.
        progress: shows the rows that are read on stderr (needs the extra `cli`).

    Raises:
        InvalidInput: the file does not exist, has another format, or has no columns for ids and photos, or a column
            cannot be understood without a decision; the message names the option.
        ModuleNotFoundError: the format needs an extra that is not installed.
    """
    options = options or ImportOptions()
    place = Path(path)
    if place.is_dir():
        return CatalogueRows(place, Understanding("folder of photos", ("each photo is a product",)))
    if not place.is_file():
        raise InvalidInput(f"There is no file {os.fspath(path)!r}. Check the path.")
    table = open_table(place, TableOptions(options.encoding, options.delimiter, options.sheet))
    return _open_rows(place, table, options, progress)


def _open_rows(place: Path, table: Table, options: ImportOptions, progress: bool) -> CatalogueRows:
    extra = is_extra(table.columns)
    columns = tuple(name for name in table.columns if name not in extra)
    rules = _kept_rules(table, extra)
    given = options.mapping() or {role: tuple(names) for role, names in rules.get("columns", {}).items()}
    try:
        mapping = map_columns(columns, given, repr(str(place)))
    except InvalidInput as error:
        raise InvalidInput(f"{error} It was read as {'; '.join((table.format, *table.understood))}.") from error
    counts_by_column = {name: ColumnCounts() for name in columns if name not in mapping.used}
    rows = _counts(table, counts_by_column, mapping.used.union(extra), progress)
    decided = decide(
        counts_by_column,
        ValueOptions(
            tuple(options.text),
            options.decimal,
            rules.get("kinds", {}),
            mapping.preset.decimal if mapping.preset else None,
        ),
    )
    base = place.parent if options.photos is None else _photo_folder(options.photos)
    folder = PhotoFolder(base, mapping.preset.folders if mapping.preset else (), is_given=options.photos is not None)
    sentences = (*table.understood, *mapping.stated)
    if extra:
        sentences = (*sentences, f"a file of refused rows: {', '.join(extra)} ignored")
    notices = tuple(rule.notice for rule in decided.values() if rule.notice)
    if not rows:
        notices = ("the table has a header and no rows",)
    kinds = {name: rule.stated for name, rule in decided.items() if counts_by_column[name].filled}
    return CatalogueRows(
        place,
        Understanding(table.format, sentences, mapping.as_json(), kinds, notices),
        TableReading(table, mapping, decided, folder, frozenset(extra)),
        columns,
        {"columns": mapping.as_json(), "kinds": {name: rule.as_json() for name, rule in decided.items()}},
        rows,
        table.format in DELIMITED,
    )


def _counts(table: Table, counts_by_column: dict[str, ColumnCounts], without: frozenset[str], progress: bool) -> int:
    """Counts the values of all rows by column, also of columns that only late rows have; returns the number of rows."""
    rows: Iterable[Row | RefusedRow] = table
    if progress:
        bar = require("tqdm.auto", extra="cli", wanted_by="progress=True").tqdm
        rows = bar(table, desc="reading the table", unit="row", leave=False)
    count = 0
    for row in rows:
        count += 1
        if isinstance(row, Row):
            for name, value in row.values.items():
                if value is None or value == "" or name in without:
                    continue
                if name not in counts_by_column and len(counts_by_column) < _MOST_COLUMNS:
                    counts_by_column[name] = ColumnCounts()
                if name in counts_by_column:
                    counts_by_column[name].add(value)
    return count


def _kept_rules(table: Table, extra: Sequence[str]) -> dict[str, Mapping[str, Mapping[str, object]]]:
    if not extra:
        return {}
    return next((rules for row in table if isinstance(row, Row) and (rules := read_rules(row.values, extra))), {})


def _photo_folder(photos: str | os.PathLike[str]) -> Path:
    if not Path(photos).is_dir():
        raise InvalidInput(f"There is no folder {os.fspath(photos)!r} of photos. Check the path (--photos).")
    return Path(photos)
