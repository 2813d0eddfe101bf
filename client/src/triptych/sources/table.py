"""Opens a table of products in any format that is read. Must not import a client, a transport or a model."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from triptych.errors import InvalidInput
from triptych.sources.formats.content import Content
from triptych.sources.formats.delimited import open_delimited
from triptych.sources.formats.encoding import find_encoding
from triptych.sources.formats.excel_rows import open_excel
from triptych.sources.formats.json_rows import open_json
from triptych.sources.formats.kinds import find_kind
from triptych.sources.formats.parquet_rows import open_parquet
from triptych.sources.formats.xml_rows import declared_encoding, open_xml
from triptych.sources.rows import RefusedRow, Row

# Formats of lines whose cells a character separates.
DELIMITED = ("CSV", "TSV")
TABLE_SUFFIXES = (
    ".csv",
    ".tsv",
    ".txt",
    ".jsonl",
    ".ndjson",
    ".json",
    ".xlsx",
    ".parquet",
    ".xml",
    ".csv.gz",
    ".tsv.gz",
    ".txt.gz",
    ".jsonl.gz",
    ".ndjson.gz",
    ".json.gz",
    ".xml.gz",
)


@dataclass(frozen=True, slots=True)
class TableOptions:
    """What the user says about a table; the rest is found out.

    Attributes:
        encoding: of a text file, "cp1252" for example.
        delimiter: between the cells of a CSV file: one character, or "tab".
        sheet: name of the sheet of a spreadsheet; the first visible one by default.
    """

    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None


class Table:
    """A table in a file. Each iteration opens the file again and streams its rows.

    Attributes:
        path: of the file.
        format: in the user's words: "CSV", "JSON lines", "Parquet", "Excel", "XML feed".
        columns: names as in the header, blanks at both ends removed, each once.
        understood: sentences for the user about what was found out.
    """

    def __init__(self, path: Path, content: Content, options: TableOptions) -> None:
        """Holds what a reader of the format found in the file."""
        self.path = path
        self.format = content.format
        self.columns = content.columns
        self.understood = (*content.understood, *_without_effect(content.format, options))
        self._rows = content.rows

    def __iter__(self) -> Iterator[Row | RefusedRow]:
        """The rows in their order, numbered from 1 without gaps; a damaged row is a `RefusedRow`."""
        return self._rows()


def open_table(path: str | os.PathLike[str], options: TableOptions | None = None) -> Table:
    """Finds out how a table is written.

    Raises:
        InvalidInput: no row could be read: no such file, another format, an empty file, a header without names,
            or options that do not fit.
        ModuleNotFoundError: the format needs a library that is not installed; the message names the extra.
    """
    options = options or TableOptions()
    place = Path(path)
    if place.is_dir():
        raise InvalidInput(f"{os.fspath(path)!r} is a folder; expected a table. Name the file in it.")
    if not place.is_file():
        raise InvalidInput(f"There is no file {os.fspath(path)!r}. Check the path.")
    return Table(place, _content(place, options), options)


def _without_effect(format_name: str, options: TableOptions) -> Iterator[str]:
    has_effect = {
        "encoding": format_name not in ("Excel", "Parquet"),
        "delimiter": format_name in DELIMITED,
        "sheet": format_name == "Excel",
    }
    for name, has in has_effect.items():
        if getattr(options, name) is not None and not has:
            yield f"the {name} that was set has no effect: the file is {format_name}"


def _content(path: Path, options: TableOptions) -> Content:
    kind, compressed = find_kind(path)
    if kind == "Parquet":
        return open_parquet(path)
    if kind == "Excel":
        return open_excel(path, options.sheet)
    declared = declared_encoding(path, compressed) if kind == "XML" else None
    file = find_encoding(path, compressed, options.encoding or declared)
    if kind == "XML":
        return open_xml(file)
    return open_json(file) if kind == "JSON" else open_delimited(file, options.delimiter)
