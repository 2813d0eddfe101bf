"""Splits delimited text into records, so that a damaged record costs no other: the next line starts a new one."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from triptych.sources.formats.encoding import LONGEST_LINE, fault_of

_MOST_LINES = 5000  # of one cell; a quote that is open for longer was never closed
_DOS_END = "\x1a"  # ends text files of DOS
_ONE_COLUMN = "\x1f"  # stands for a delimiter that no text has


@dataclass(frozen=True, slots=True)
class Dialect:
    """How cells are separated and quoted.

    Attributes:
        delimiter: one character; None in a table of one column.
        quoted: whether a quote at the start of a cell encloses it.
        spaced: whether blanks stand between a delimiter and a quote.
    """

    delimiter: str | None
    quoted: bool = True
    spaced: bool = False


class _Lines:
    """Lines that can be given back: those of the record in work are in `taken`."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._returned: deque[str] = deque()
        self.taken: list[str] = []
        self.escape: re.Pattern[str] | None = None

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if len(self.taken) > _MOST_LINES:
            raise csv.Error
        line = self._returned.popleft() if self._returned else next(self._lines)
        self.taken.append(line)
        return line if self.escape is None else self.escape.sub('""', line)

    def give_back(self, kept: int) -> None:
        """Gives back all lines that were taken but the first `kept`."""
        self._returned.extendleft(reversed(self.taken[kept:]))
        del self.taken[kept:]


@dataclass(slots=True)
class Record:
    """One record: its cells, and why they cannot be used.

    Attributes:
        line: where it begins, from 1.
        cells: its cells; those of a damaged record as far as they can be told.
        fault: the reason and the next step; None if it is whole.
    """

    line: int
    cells: list[str]
    fault: str | None = None


class Records:
    """The records of a text. Blank lines and records without any value are none."""

    def __init__(self, lines: Iterator[str], dialect: Dialect, encoding: str, line: int = 1) -> None:
        """Reads on from `lines`, of which the first has the number `line`."""
        csv.field_size_limit(max(csv.field_size_limit(), LONGEST_LINE))  # of the process; lines are bounded here
        self._source = _Lines(lines)
        self._dialect = dialect
        self._encoding = encoding
        self.line = line
        delimiter = re.escape(dialect.delimiter or _ONE_COLUMN)
        # A backslash before a quote: one that may end a cell (a folder's path) is tried as such first.
        self._escapes = (re.compile(rf'\\"(?!\s*(?:{delimiter}|$))'), re.compile(r'\\"'))

    def _reader(self) -> Iterator[list[str]]:
        return csv.reader(
            self._source,
            delimiter=self._dialect.delimiter or _ONE_COLUMN,
            quoting=csv.QUOTE_MINIMAL if self._dialect.quoted else csv.QUOTE_NONE,
            skipinitialspace=self._dialect.spaced,
            strict=True,
        )

    def read(self, width: int = 0) -> Iterator[Record]:
        """The records in their order; `width` is the number of cells that each should have, 0 if it is not known."""
        source, reader, encoding = self._source, self._reader(), self._encoding
        while True:
            source.taken.clear()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error:
                cells = None
            if cells is None or (width and len(cells) != width):
                record = self._mend(cells, width)
            else:
                record = Record(self.line, cells)
            for line in source.taken:
                if not line.isascii() or "\0" in line:
                    record.fault = fault_of(line, encoding) or record.fault
            self.line += len(source.taken)
            if record.fault is not None or any(record.cells):
                yield record

    def _mend(self, cells: list[str] | None, width: int) -> Record:
        """A record that does not fit: read with its blanks at the end, with escaped quotes, or refused."""
        source = self._source
        if cells is not None and (
            not any(cells) or cells == [_DOS_END] or (len(cells) > width and not any(cells[width:]))
        ):
            return Record(self.line, [] if cells == [_DOS_END] else cells[:width])
        if any('\\"' in line for line in source.taken):
            escaped = self._unescaped(width)
            if escaped is not None:
                return Record(self.line, escaped)
        if len(source.taken) > 1 and (cells is None or self._others_fit(width)):
            source.give_back(1)
            cells = None
        if cells is None:
            return Record(self.line, self._loose(), self._quote_fault())
        return Record(self.line, cells, _count_fault(len(cells), width))

    def _unescaped(self, width: int) -> list[str] | None:
        source = self._source
        before = len(source.taken)
        for pattern in self._escapes:
            source.give_back(0)
            source.escape = pattern
            try:
                cells = next(self._reader(), [])
            except csv.Error:
                cells = []
            finally:
                source.escape = None
            if cells and (not width or len(cells) == width):
                return cells
        source.give_back(0)
        for _ in range(before):
            next(source)
        return None

    def _others_fit(self, width: int) -> bool:
        """Whether a later line that an open quote took in is a record of its own."""
        return any(len(cells) == width > 1 for cells in map(self._alone, self._source.taken[1:]))

    def _alone(self, line: str) -> list[str]:
        try:
            return next(csv.reader([line], delimiter=self._dialect.delimiter or _ONE_COLUMN, strict=True), [])
        except csv.Error:
            return []

    def _loose(self) -> list[str]:
        """The cells of the first line, split without regard to quotes where they do not help."""
        line = self._source.taken[0].rstrip("\r\n")
        return line.split(self._dialect.delimiter) if self._dialect.delimiter else [line]

    def _quote_fault(self) -> str:
        if self._source.taken[0].count('"') % 2:
            return "a quote that opens in this line is not closed. Close it, or write quotes inside a cell twice."
        return 'text follows a closing quote. Write quotes inside a cell twice: "20"" monitor".'


def _count_fault(found: int, expected: int) -> str:
    advice = (
        "Put cells that hold the delimiter into quotes."
        if found > expected
        else "Add the missing ones, empty if need be."
    )
    return f"it has {found} {'cell' if found == 1 else 'cells'}, the header has {expected}. {advice}"
