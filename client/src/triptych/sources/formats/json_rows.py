"""JSON: one object a line, an array of objects, or an object that holds such an array."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from triptych.errors import InvalidInput
from triptych.sources.formats.cells import BadValueError, plain_values, shown_values
from triptych.sources.formats.content import Content
from triptych.sources.formats.encoding import TextFile, bounded_lines, fault_of, shown
from triptych.sources.formats.json_stream import BETWEEN, Element, JsonStream, why_no_json
from triptych.sources.rows import RefusedRow, Row

_WRAPPERS = frozenset(
    ("products", "items", "data", "results", "rows", "records", "entries", "catalog", "catalogue", "nodes", "articles")
)
_HEAD = 1 << 18  # characters
_FOR_COLUMNS = 1000  # rows whose names are the columns
_LONGEST_TEXT = 2000
_PAIR = re.compile(r'"((?:[^"\\]|\\.)+)"\s*:\s*("(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*)(?=\s*[,}\]\n]|\s*$)')


class _TwiceError(ValueError):
    pass


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _TwiceError(f"the name {twice!r} is there twice")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_object, strict=False)


def open_json(file: TextFile) -> Content:
    """Finds out how the objects are written.

    Raises:
        InvalidInput: there is no list of objects.
    """
    form, names = _arrangement(file)
    told = (f"the rows are the list {names[-1]!r} of the file's object",) if names else ()

    def rows() -> Iterator[Row | RefusedRow]:
        elements = _line_elements(file) if form == "lines" else _stream_elements(file, form, names)
        for number, element in enumerate(elements, start=1):
            yield _row(number, element, file.encoding)

    columns: dict[str, None] = {}
    for row in islice(rows(), _FOR_COLUMNS):
        if isinstance(row, Row):
            columns.update(dict.fromkeys(row.values))
    if not columns:
        raise InvalidInput(
            f"{str(file.path)!r} holds no JSON object with values; expected one object for each product."
        )
    return Content("JSON lines" if form == "lines" else "JSON", tuple(columns), (*file.understood, *told), rows)


def _arrangement(file: TextFile) -> tuple[str, list[str]]:
    """How the objects are written ("lines", "array", "objects"), and the names that lead to the array."""
    with file.open() as text:
        head = text.read(_HEAD)
    lines = [line for line in head.splitlines()[: -1 if len(head) == _HEAD else None] if line.strip()] or [head]
    objects = [value for line in lines if isinstance(value := _quietly(line), dict)]
    if lines[0].lstrip().startswith("["):
        return ("lines" if len(lines) > 1 and isinstance(_quietly(lines[0]), list) else "array"), []
    if len(lines) > 1 and objects:
        return "lines", []
    with file.open() as text:
        names = _find_array(JsonStream(text, _DECODER))
    if names is not None:
        return "array", names
    if len(lines) == 1 and not (objects and _holds_only_parts(objects[0])):
        return "lines", []
    with file.open() as text:
        first = next(JsonStream(text, _DECODER).elements(is_list=False))
    if isinstance(first.value, dict) and _holds_only_parts(first.value):
        raise InvalidInput(
            f"{str(file.path)!r} holds JSON without a list of products. Expected an array of objects, an object such "
            'as {"products": [...]}, or one object each line.'
        )
    return "objects", []


def _holds_only_parts(value: dict[str, Any]) -> bool:
    """Whether an object has only objects and lists: products by their id."""
    return all(isinstance(each, dict | list) for each in value.values())


def _quietly(line: str) -> Any:
    try:
        return _DECODER.decode(line.strip().rstrip(","))
    except (ValueError, RecursionError):
        return None


def _find_array(stream: JsonStream) -> list[str] | None:
    """Goes into the first array of objects that an object holds; the names that lead to it."""
    names: list[str] = []
    first = True
    if stream.peek() != "{":
        return None
    stream.take()
    try:
        while (following := stream.peek(BETWEEN)) in ('"', "}") and following:
            if following == "}":
                stream.take()
                if not names:
                    return None
                names.pop()
                continue
            name = stream.value()
            entered = _enter(stream, first or name.lower() in _WRAPPERS)
            first = first and entered == "{"
            if entered == "[":
                return [*names, name]
            if entered == "{":
                names.append(name)
    except ValueError:
        return None
    return None


def _enter(stream: JsonStream, is_wanted: bool) -> str:
    """Goes to the value of a name: into an object or an array of objects that may be wanted, past all others."""
    if stream.peek() != ":":
        raise ValueError("a name without a value")
    stream.take()
    opening = stream.peek()
    if not is_wanted or opening not in ("{", "["):
        stream.value()
        return ""
    stream.take()
    if opening == "[" and stream.peek() not in ("{", "]"):
        raise ValueError("another list")
    return opening


def _line_elements(file: TextFile) -> Iterator[Element]:
    with file.open() as text:
        for line, content in enumerate(bounded_lines(text), start=1):
            if not content.strip():
                continue
            try:
                yield Element(line, _DECODER.decode(content.rstrip().removesuffix(",")))
            except (ValueError, RecursionError) as error:
                yield Element(line, fault=why_no_json(error), text=content)


def _stream_elements(file: TextFile, form: str, names: list[str]) -> Iterator[Element]:
    with file.open() as text:
        stream = JsonStream(text, _DECODER)
        if names:
            _find_array(stream)
        elif form == "array":
            stream.peek()
            stream.take()
        yield from stream.elements(is_list=form == "array")
        if not names and stream.peek():
            yield Element(stream.line, fault="text follows the end of the list. Make it part of the list.")


def _row(number: int, element: Element, encoding: str) -> Row | RefusedRow:
    if element.fault is not None:
        reason = fault_of(element.text, encoding) or element.fault
        text = shown(element.text).strip()
        values = _told_values(text) or None
        return RefusedRow(
            number,
            None,
            None,
            reason,
            line=element.line,
            value=text[:_LONGEST_TEXT] or None,
            values=values,
            is_damaged=True,
        )
    if not isinstance(element.value, dict):
        return RefusedRow(
            number,
            None,
            None,
            'it is no JSON object; expected {"id": ..., "photo": ...}.',
            line=element.line,
            value=str(element.value)[:80],
        )
    try:
        return Row(number, element.line, plain_values(element.value.items()))
    except BadValueError as error:
        return RefusedRow(
            number,
            None,
            None,
            str(error),
            line=element.line,
            column=error.column,
            value=error.value,
            values=shown_values(element.value.items()),
        )


def _told_values(text: str) -> dict[str, Any]:
    """The values of a damaged object that stand there whole, before the first list or object in it."""
    values: dict[str, Any] = {}
    for name, value in _PAIR.findall(re.split(r"[\[{]", text.lstrip("{ \r\n\t"))[0]):
        decoded = _quietly(value)
        if decoded is not None:
            values[name] = decoded
    return shown_values(values.items())
