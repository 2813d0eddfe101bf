"""Finds the delimiter, the quoting and the header of delimited text by its first records."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from triptych.errors import InvalidInput
from triptych.sources.formats.content import has_values
from triptych.sources.formats.records import Dialect, Record, Records

_WORDS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "vertical bars"}  # in order of preference
_UNQUOTED = "\t|"  # delimiters of files that may know no quotes
_SPELLED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|"}
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_MOST_TITLES = 15
_CONSISTENT = 0.8  # share of records with as many cells as the header, from which a delimiter is believed


@dataclass(frozen=True, slots=True)
class Layout:
    """How delimited text is written.

    Attributes:
        dialect: of its cells.
        header: the cells of the header.
        header_lines: lines of the file up to the end of the header.
        understood: sentences for the user.
    """

    dialect: Dialect
    header: list[str]
    header_lines: int
    understood: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Try:
    dialect: Dialect
    records: list[Record]
    titles: int
    fit: float

    @property
    def width(self) -> int:
        return len(_trimmed(self.records[self.titles].cells))


def delimiter_of(given: str) -> str:
    """The delimiter that a user names.

    Raises:
        InvalidInput: it is not one character.
    """
    delimiter = _SPELLED.get(given.lower(), given)
    if len(delimiter) != 1 or delimiter in '"\r\n\\' or delimiter.isalnum():
        raise InvalidInput(f"The delimiter {given!r} cannot be used. Expected one character such as ; , or |, or tab.")
    return delimiter


def find_layout(lines: Sequence[str], encoding: str, forced: str | None) -> Layout:
    """Finds out how the first lines of a file are written.

    Raises:
        InvalidInput: there is no header, or it has other columns than all rows.
    """
    skipped = 0
    stated = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    told: list[str] = []
    if stated is not None:
        skipped = 1
        told.append(f"the first line, {lines[0].strip()!r}, names the delimiter")
    delimiter = delimiter_of(forced) if forced is not None else stated.group(1) if stated else None
    best = _best(lines[skipped:], encoding, delimiter, skipped + 1)
    header = best.records[best.titles]
    if header.fault is not None:
        raise InvalidInput(f"The header in line {header.line} cannot be read: {header.fault}")
    if best.titles:
        first, last = best.records[0].line, header.line - 1
        place = f"line {first} is a title" if first == last else f"lines {first} to {last} are titles"
        told.append(f"{place} above the header and no row: {' '.join(filter(None, best.records[0].cells))!r}")
    told += _about(best)
    end = _end_of(header, lines[skipped:], best.dialect, encoding, skipped)
    return Layout(best.dialect, header.cells, end, tuple(told))


def _end_of(header: Record, lines: Sequence[str], dialect: Dialect, encoding: str, skipped: int) -> int:
    records = Records(iter(lines[header.line - 1 - skipped :]), dialect, encoding, header.line)
    next(records.read())
    return records.line - 1


def _about(best: _Try) -> Iterator[str]:
    delimiter = best.dialect.delimiter
    if delimiter is None:
        yield "one column"
    elif delimiter != ",":
        yield f"{_WORDS.get(delimiter, repr(delimiter))} between the columns"
    if not best.dialect.quoted:
        yield "quotes are characters like others, they enclose no cells"
    if best.dialect.spaced:
        yield "blanks between a delimiter and a quote are left out"


def _best(lines: Sequence[str], encoding: str, delimiter: str | None, line: int) -> _Try:
    candidates = [delimiter] if delimiter is not None else list(_WORDS)
    tries = [each for found in candidates if (each := _tried(lines, Dialect(found), encoding, line))]
    if not tries:
        raise InvalidInput("it holds no header and no rows.")
    if delimiter is None:
        tries = [each for each in tries if each.width > 1]
        single = _tried(lines, Dialect(None), encoding, line)
        if single is not None and not any(each.fit >= _CONSISTENT or not each.titles for each in tries):
            tries = [single]
    best = max(tries, key=lambda each: (min(each.fit, _CONSISTENT), each.width, each.fit))
    found = best.dialect.delimiter
    if found is None:
        return best
    damaged = sum(1 for record in best.records if record.fault is not None)
    if found in _UNQUOTED and damaged > 2:
        plain = _tried(lines, Dialect(found, quoted=False), encoding, line)
        if plain is not None and plain.fit >= best.fit + 0.2:
            return plain
    if any(re.match(r'\s+"', cell) for record in best.records for cell in record.cells):
        spaced = _tried(lines, Dialect(found, spaced=True), encoding, line)
        if spaced is not None and spaced.fit >= best.fit:
            return spaced
    return best


def _tried(lines: Sequence[str], dialect: Dialect, encoding: str, line: int) -> _Try | None:
    records = list(Records(iter(lines), dialect, encoding, line).read())
    if not records:
        return None
    fits = (_fit(dialect, records, titles) for titles in _titles(records))
    return max(fits, key=lambda each: (min(each.fit, _CONSISTENT), each.width > 1, each.fit))


def _titles(records: list[Record]) -> Iterator[int]:
    """Numbers of records above the header that are thinkable: none, or lines of one cell above a header of several."""
    yield 0
    widths = Counter(len(record.cells) for record in records[1:])
    usual = widths.most_common(1)[0][0] if widths else 0
    for place, record in enumerate(records[: _MOST_TITLES + 1]):
        filled = [cell for cell in record.cells if cell.strip()]
        if place and len(filled) > 1 and len(record.cells) == usual and record.fault is None:
            if not has_values(filled) and all(map(_is_title, records[:place], records[1 : place + 1])):
                yield place
            return
        if len(filled) > 1:
            return


def _is_title(record: Record, following: Record) -> bool:
    """Whether a line of one text is no name of a column: several words, padded with delimiters, or set apart."""
    text = "".join(record.cells).strip()
    return " " in text or len(record.cells) > 1 or following.line > record.line + 1


def _fit(dialect: Dialect, records: list[Record], titles: int) -> _Try:
    width = len(records[titles].cells)
    rows = records[titles + 1 :]
    fitting = sum(1 for row in rows if row.fault is None and _fits(row.cells, width))
    fit = fitting / len(rows) if rows else 1.0
    return _Try(dialect, records, titles, fit if titles == 0 or fit >= _CONSISTENT else 0.0)


def _fits(cells: list[str], width: int) -> bool:
    return len(cells) == width or (len(cells) > width and not any(cells[width:]))


def _trimmed(cells: list[str]) -> list[str]:
    kept = list(cells)
    while kept and not kept[-1].strip():
        kept.pop()
    return kept
