"""Cuts the elements of products out of XML text, in bounded memory; one that is not closed costs no other."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TextIO

from triptych.sources.formats.encoding import BROKEN

_CHUNK = 1 << 18
_LONGEST = 1 << 22  # characters of an element
_MARGIN = 1 << 10  # characters at the end of the text read so far that may be the beginning of a tag


class XmlFragments:
    """Elements with one name, as text."""

    def __init__(self, text: TextIO, tag: str, root: str) -> None:
        """Reads from the current place; `root` is the element around all."""
        name = re.escape(tag)
        self._text = text
        self._token = re.compile(
            rf"<!--.*?-->|(?P<cdata><!\[CDATA\[.*?\]\]>)|(?P<unclosed><!--|<!\[CDATA\[)"
            rf"|(?P<open><{name}(?:\s(?:[^>\"']|\"[^\"]*\"|'[^']*')*?)?(?P<empty>/?)>)|(?P<close></{name}\s*>)",
            re.DOTALL,
        )
        self._opening = re.compile(rf"<{name}[\s>]")
        self._root = f"</{root}"
        self._is_closed = False
        self._buffer = ""
        self._scan = 0
        self._start = -1
        self._line = 1  # at the place `_counted`
        self._counted = 0

    def read(self) -> Iterator[tuple[int, str, bool]]:
        """Line, text, and whether the element is closed; an empty text at a place where the file was cut."""
        while True:
            chunk = self._chunk()
            self._buffer += chunk
            self._is_closed = self._is_closed or self._root in self._buffer
            yield from self._found(is_last=not chunk)
            if not chunk:
                break
            if self._start >= 0 and len(self._buffer) - self._start > _LONGEST:
                yield self._cut(len(self._buffer), False)
            self._trim()
        if self._start >= 0:
            yield self._cut(len(self._buffer), False)
        elif not self._is_closed:
            self._start = len(self._buffer)
            yield self._cut(len(self._buffer), False)

    def _chunk(self) -> str:
        try:
            return self._text.read(_CHUNK)
        except BROKEN:
            return ""

    def _found(self, is_last: bool) -> Iterator[tuple[int, str, bool]]:
        safe = len(self._buffer) if is_last else len(self._buffer) - _MARGIN
        while (found := self._token.search(self._buffer, self._scan)) and found.end() <= safe:
            if found["unclosed"]:
                if not is_last and len(self._buffer) - found.start() < _LONGEST:
                    return  # its end may come
                self._scan = found.end()
                continue
            if found["cdata"] and self._opening.search(found["cdata"]):
                self._scan = found.start() + len("<![CDATA[")  # not closed: the end belongs to a later one
                continue
            self._scan = found.end()
            if found["open"]:
                if self._start >= 0:
                    yield self._cut(found.start(), False)
                self._start = found.start()
            if self._start >= 0 and (found["close"] or found["empty"]):
                yield self._cut(found.end(), True)
        if found is None:
            self._scan = max(self._scan, safe)

    def _cut(self, end: int, is_whole: bool) -> tuple[int, str, bool]:
        start, self._start = self._start, -1
        self._line += self._buffer.count("\n", self._counted, start)
        self._counted = start
        self._scan = max(self._scan, end)
        return self._line, self._buffer[start:end], is_whole

    def _trim(self) -> None:
        kept = self._start if self._start >= 0 else self._scan
        self._line += self._buffer.count("\n", self._counted, kept)
        self._buffer = self._buffer[kept:]
        self._scan -= kept
        self._start = 0 if self._start >= 0 else -1
        self._counted = 0
