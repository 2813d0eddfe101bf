"""XML feeds: Google Merchant (RSS 2.0, Atom), and others that repeat one element for each product.

Each product's element is cut out of the text and parsed alone, so that a damaged one costs no other. The parser never
sees a document type, so entities that a file defines (they can fetch files and fill the memory) have no effect.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html.entities import html5
from pathlib import Path
from typing import Any
from xml.parsers import expat

from triptych.errors import InvalidInput
from triptych.sources.formats.content import Content
from triptych.sources.formats.encoding import TextFile, fault_of, open_bytes, shown
from triptych.sources.formats.xml_fragments import XmlFragments
from triptych.sources.rows import RefusedRow, Row

_HEAD = 1 << 21  # characters in which the element of a product is looked for
_FOR_COLUMNS = 1000
_DEEPEST = 32
_KNOWN = ("item", "entry", "product", "offer", "article", "record", "row", "SHOPITEM")
_TAG = re.compile(
    r"<!\[CDATA\[.*?\]\]>|<!--.*?-->|<\?.*?\?>"
    r"|<(?P<end>/?)(?P<name>[^\s/>!?<]+)(?:[^>\"']|\"[^\"]*\"|'[^']*')*?(?P<empty>/?)>",
    re.DOTALL,
)
_DECLARED = re.compile(rb"""<\?xml[^>]*?\bencoding\s*=\s*["']([A-Za-z0-9._-]+)["']""")
_ENTITY = re.compile(r"&(?!(?:amp|lt|gt|quot|apos|#\d+|#x[\da-fA-F]+);)(\w+;)?")
_GOOGLE = re.compile(r"""\bxmlns:([\w.-]+)\s*=\s*["']http://base\.google\.com/ns/1\.0/?["']""")
_LONGEST_VALUE = 2000


@dataclass(frozen=True, slots=True)
class _Layout:
    path: tuple[str, ...]  # ("rss", "channel", "item")
    google: str  # the prefix of Google's namespace, as the file has it

    @property
    def tag(self) -> str:
        return self.path[-1]


def declared_encoding(path: Path, compressed: bool) -> str | None:
    """The 8-bit encoding that the first line of an XML file states; None for UTF-8 and UTF-16."""
    with open_bytes(path, compressed) as file:
        found = _DECLARED.match(file.read(512))
    name = found[1].decode().lower() if found else "utf-8"
    return None if name.startswith(("utf-8", "utf8", "utf-16", "us-ascii")) else name


def open_xml(file: TextFile) -> Content:
    """Finds the element that each product has.

    Raises:
        InvalidInput: the file defines entities, or no element is repeated.
    """
    with file.open() as text:
        head = text.read(_HEAD)
    if "<!ENTITY" in re.split(r"<[A-Za-z]", head, maxsplit=1)[0]:
        raise InvalidInput(f"{str(file.path)!r} defines XML entities, which are not read: they may fetch other files.")
    layout = _find_layout(file, head)

    def fragments() -> Iterator[tuple[int, str, bool]]:
        with file.open() as text:
            yield from XmlFragments(text, layout.tag, layout.path[0]).read()

    def rows() -> Iterator[Row | RefusedRow]:
        for number, (line, fragment, is_whole) in enumerate(fragments(), start=1):
            yield _row(number, line, fragment, is_whole, layout, file.encoding)

    columns: dict[str, None] = {}
    for number, row in enumerate(rows(), start=1):
        if isinstance(row, Row):
            columns.update(dict.fromkeys(row.values))
        if number >= _FOR_COLUMNS:
            break
    if not columns:
        raise InvalidInput(f"{str(file.path)!r} is XML whose elements {layout.tag!r} hold no values that can be read.")
    return Content("XML feed", tuple(columns), (*file.understood, f"one row for each {' > '.join(layout.path)}"), rows)


def _find_layout(file: TextFile, head: str) -> _Layout:
    counts: Counter[tuple[str, ...]] = Counter()
    parents: set[tuple[str, ...]] = set()
    stack: list[str] = []
    for tag in _TAG.finditer(head):
        if tag["name"] is None:
            continue
        if tag["end"]:
            if tag["name"] in stack:
                del stack[len(stack) - 1 - stack[::-1].index(tag["name"]) :]
            continue
        path = (*stack, tag["name"])
        counts[path] += 1
        parents.update((path[:-1],) if "=" not in tag[0] else (path[:-1], path))
        if not tag["empty"]:
            stack.append(tag["name"])
    google = _GOOGLE.search(head)
    known = [path for path in counts if len(path) > 1 and path[-1].rpartition(":")[2].lower() in _KNOWN]
    repeated = [path for path in counts if len(path) > 1 and counts[path] > 1 and path in parents]
    if not known and not repeated:
        raise InvalidInput(
            f"{str(file.path)!r} is XML in which no element repeats. Expected a feed, with an element such as <item>, "
            "<entry> or <product> for each product."
        )
    path = min(known or repeated, key=lambda each: (len(each), -counts[each]))
    return _Layout(path, google[1] if google else "g")


def _row(number: int, line: int, fragment: str, is_whole: bool, layout: _Layout, encoding: str) -> Row | RefusedRow:
    fault = fault_of(fragment, encoding)
    values: Any = None
    if fault is None and not is_whole:
        fault = (
            f"its element <{layout.tag}> is not closed. Close it with </{layout.tag}>."
            if fragment
            else "the file ends in the middle of the feed. Fetch it again."
        )
    if fault is None:
        try:
            values = _values(fragment, layout.google)
        except expat.ExpatError as error:
            fault = _why(error, line)
        except RecursionError:
            fault = f"its elements lie more than {_DEEPEST} levels deep."
    if fault is None:
        return Row(number, line, values)
    text = shown(fragment[:_LONGEST_VALUE])
    return RefusedRow(
        number, None, None, fault, line=line, value=text or None, values=_told_values(fragment, layout.google)
    )


def _told_values(fragment: str, google: str) -> dict[str, Any] | None:
    """The values of an element whose only fault is an & or an entity of HTML."""

    def escaped(found: re.Match[str]) -> str:
        return html5.get(found[1] or "", f"&amp;{found[1] or ''}")

    try:
        return _values(_ENTITY.sub(escaped, shown(fragment)), google)
    except (expat.ExpatError, RecursionError):
        return None


def _why(error: expat.ExpatError, line: int) -> str:
    advice = {
        "not well-formed (invalid token)": "Write & as &amp; and < as &lt;, or put the text into <![CDATA[...]]>.",
        "undefined entity": "XML knows no entities of HTML such as &nbsp;: write &#160;.",
    }.get(expat.ErrorString(error.code), "Repair the element.")
    place = f"line {line + error.lineno - 1}, character {error.offset + 1}"
    return f"it is no well-formed XML ({expat.ErrorString(error.code)}, {place}). {advice}"


def _values(fragment: str, google: str) -> dict[str, Any]:
    """The children of an element as values; what is there several times is a list."""
    stack: list[tuple[str, dict[str, Any], list[str]]] = []
    top: dict[str, Any] = {}

    def name_of(name: str) -> str:
        if google == "g" or not name.startswith(f"{google}:"):
            return name
        return f"g:{name[len(google) + 1 :]}"

    def start(name: str, attributes: dict[str, str]) -> None:
        if len(stack) > _DEEPEST:
            raise RecursionError
        own: dict[str, Any] = {}
        if attributes:
            own = {f"@{name_of(each)}": value for each, value in attributes.items() if not each.startswith("xmlns")}
        stack.append((name_of(name), own, []))

    def end(_: str) -> None:
        name, children, texts = stack.pop()
        text = "".join(texts).strip()
        if not stack:
            top.update(children, **({"text": text} if text else {}))
            return
        _add(stack[-1][1], name, children, text)

    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = lambda text: stack[-1][2].append(text)
    parser.Parse(fragment, True)
    return top


def _add(parent: dict[str, Any], name: str, children: dict[str, Any], text: str) -> None:
    """Adds an element: its text, an object of its children, or the address that is all it has."""
    if not children:
        if text:
            _put(parent, name, text)
        return
    attributes = {key: value for key, value in children.items() if key[0] == "@"}
    value: Any = text
    if len(attributes) < len(children):
        value = {**children, **({"text": text} if text else {})}
        attributes = {}
    elif not text and list(attributes) in (["@href"], ["@url"], ["@src"]):
        value, attributes = next(iter(attributes.values())), {}
    for key, each in [(name, value), *((f"{name}{key}", each) for key, each in attributes.items())]:
        if each != "":
            _put(parent, key, each)


def _put(parent: dict[str, Any], name: str, value: Any) -> None:
    if name not in parent:
        parent[name] = value
    elif isinstance(parent[name], list):
        parent[name].append(value)
    else:
        parent[name] = [parent[name], value]
