"""Text with a delimiter between the cells: CSV, TSV and their relatives."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from triptych.errors import InvalidInput
from triptych.sources.formats.content import Content, check_header, name_columns
from triptych.sources.formats.dialect import Layout, find_layout
from triptych.sources.formats.encoding import MARK, TextFile, bounded_lines, shown
from triptych.sources.formats.records import Record, Records
from triptych.sources.rows import RefusedRow, Row

_SAMPLE_LINES, _SAMPLE_CHARACTERS = 500, 1 << 19
_LONGEST_VALUE = 80


def open_delimited(file: TextFile, delimiter: str | None) -> Content:
    """Finds the delimiter and the header.

    Raises:
        InvalidInput: the header has no names, or the delimiter cannot be used.
    """
    try:
        layout = find_layout(_sample(file), file.encoding, delimiter)
    except InvalidInput as error:
        raise InvalidInput(f"{str(file.path)!r}: {error}") from error
    check_header(file.path, layout.header_lines, layout.header)
    columns, named = name_columns([shown(cell) for cell in layout.header])
    ends = ("each line ends with a delimiter",) if len(columns) < len(layout.header) else ()

    def rows() -> Iterator[Row | RefusedRow]:
        return _rows(file, layout, columns)

    name = "TSV" if layout.dialect.delimiter == "\t" else "CSV"
    return Content(name, columns, (*file.understood, *layout.understood, *ends, *named), rows)


def _sample(file: TextFile) -> list[str]:
    lines: list[str] = []
    size = 0
    with file.open() as text:
        for line in islice(bounded_lines(text), _SAMPLE_LINES):
            lines.append(line)
            size += len(line)
            if size > _SAMPLE_CHARACTERS:
                break
    return lines


def _rows(file: TextFile, layout: Layout, columns: tuple[str, ...]) -> Iterator[Row | RefusedRow]:
    width = len(columns)
    header = layout.header[:width]
    with file.open() as text:
        lines = bounded_lines(text)
        for _ in range(layout.header_lines):
            next(lines, None)
        records = Records(lines, layout.dialect, file.encoding, layout.header_lines + 1)
        for number, record in enumerate(records.read(width), start=1):
            if record.fault is None and record.cells == header:
                record.fault = "it is the header again. Remove this line; files may have been joined."
            if record.fault is None:
                values = {name: cell for name, cell in zip(columns, record.cells, strict=True) if cell}
                yield Row(number, record.line, values)
            else:
                yield _refused(number, record, columns)


def _refused(number: int, record: Record, columns: tuple[str, ...]) -> RefusedRow:
    names = [*columns, *(f"column {place}" for place in range(len(columns) + 1, len(record.cells) + 1))]
    cells = dict(zip(names, record.cells, strict=False))
    column = next((name for name, cell in cells.items() if MARK.search(cell)), None)
    return RefusedRow(
        number,
        None,
        None,
        str(record.fault),
        line=record.line,
        column=column,
        value=shown(cells[column][:_LONGEST_VALUE]) if column is not None else None,
        values={name: shown(cell) for name, cell in cells.items() if cell},
    )
