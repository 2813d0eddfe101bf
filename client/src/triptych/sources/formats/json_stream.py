"""Elements of a JSON array one after another, in bounded memory; a damaged element costs no other."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TextIO

from triptych.sources.formats.encoding import BROKEN, LONGEST_LINE

_CHUNK = 1 << 18
_AHEAD = 1 << 20  # characters after the beginning of an element that is not whole; a longer one is read with care
_DOUBTED = 1 << 16  # characters that are read on when brackets or quotes do not match
_BLANK = re.compile(r"[\s]*")
BETWEEN = re.compile(r"[\s,]*")
_TOKEN = re.compile(r'["\[\]{}]')
_CLOSING = re.compile(r'(?<!\\)(?:\\\\)*"')  # the end of a text
_KEY = re.compile(r'\{\s*("(?:[^"\\]|\\.)*")\s*:')
_SCALAR = re.compile(r"[^,\]\s]*")
_NEXT = re.compile(r"\s*[,\]{]")
_END = re.compile(r"\][\s}]*$")
_SWALLOWED = re.compile(r"\}\s*,\s*\{")


@dataclass(slots=True)
class Element:
    """One element of an array.

    Attributes:
        line: where it begins, from 1.
        value: as the decoder gives it.
        fault: why it could not be decoded.
        text: of a damaged element, its beginning.
    """

    line: int
    value: Any = None
    fault: str | None = None
    text: str = ""


class JsonStream:
    """Reads JSON text from its start, a chunk at a time."""

    def __init__(self, file: TextIO, decoder: json.JSONDecoder) -> None:
        """Begins at the current place of the file."""
        self._file = file
        self._decoder = decoder
        self._text = ""
        self._at = 0
        self._ended = False
        self._names: list[str] = []  # of the first element, as JSON writes them
        self.line = 1

    def fill(self) -> bool:
        """Reads another chunk; whether there was one."""
        if self._ended or len(self._text) - self._at > LONGEST_LINE:
            return False
        try:
            chunk = self._file.read(_CHUNK)
        except BROKEN:
            chunk = ""
        if not chunk:
            self._ended = True
            return False
        self._text, self._at = self._text[self._at :] + chunk, 0
        return True

    def peek(self, blank: re.Pattern[str] = _BLANK) -> str:
        """The next character after blanks; "" at the end."""
        while True:
            found = blank.match(self._text, self._at)
            self._skip(found.end() if found else self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self.fill():
                return ""

    def take(self) -> None:
        """Goes past one character."""
        self._skip(self._at + 1)

    def value(self) -> Any:
        """Decodes the value that begins here.

        Raises:
            ValueError: it is no JSON.
        """
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError) as error:
                if self.fill():
                    continue
                raise ValueError(str(error)) from error
            if end == len(self._text) and self.fill():
                continue  # a number may go on
            self._skip(end)
            return value

    def elements(self, is_list: bool = True) -> Iterator[Element]:
        """The elements of the array whose bracket was taken, or values one after another up to the end of the file."""
        while True:
            following = self.peek(BETWEEN)
            if following == "]" and is_list:
                self.take()
                return
            if not following:
                if not is_list:
                    return
                yield Element(self.line, fault="the file ends in the middle of the list. Fetch it again.")
                return
            yield self._element()

    def _element(self) -> Element:
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except (ValueError, RecursionError):
                end = -1
            if end >= 0 and _NEXT.match(self._text, end):
                break
            if len(self._text) - self._at > _AHEAD or not self.fill():
                return self._careful()
        if not self._names and isinstance(value, dict):
            self._names = [json.dumps(name, ensure_ascii=False) for name in value]
        line = self.line
        self._skip(end)
        return Element(line, value)

    def _careful(self) -> Element:
        """A damaged element, the last one of the file, or a very long one."""
        line = self.line
        length, certain = self._extent()
        text = self._text[self._at : self._at + length]
        try:
            value, end = self._decoder.raw_decode(text)
            if not _BLANK.fullmatch(text, end):
                raise json.JSONDecodeError("Extra data", text, end)
        except (ValueError, RecursionError) as error:
            if not certain:
                text = self._up_to_next(text)
            self._skip(self._at + len(text))
            return Element(line, fault=why_no_json(error), text=text[:LONGEST_LINE])
        self._skip(self._at + length)
        return Element(line, value)

    def _extent(self) -> tuple[int, bool]:
        """Characters of the element that begins here by its brackets, and whether this is certain."""
        open_brackets: list[str] = []
        offset, certain, doubted = 0, True, 0
        if self._text[self._at] not in '{["':
            while (found := _SCALAR.match(self._text, self._at)) and found.end() == len(self._text) and self.fill():
                pass
            return max(1, found.end() - self._at if found else 1), True
        while True:
            token = _TOKEN.search(self._text, self._at + offset)
            closing = token if token is None or token[0] != '"' else _CLOSING.search(self._text, token.end())
            if token is None or closing is None:
                if not self.fill():
                    return len(self._text) - self._at, False
                continue
            mark = token[0]
            if mark == '"':
                certain = certain and not _SWALLOWED.search(self._text, token.end(), closing.end())
            elif mark in "}]":
                certain = bool(open_brackets) and open_brackets.pop() + mark in ("{}", "[]") and certain
            elif mark == "{" and open_brackets[-1:] == ["{"] and not self._follows_colon(token.start()):
                return offset, False
            else:
                open_brackets.append(mark)
            offset = closing.end() - self._at
            doubted = doubted or (0 if certain else offset)
            if not open_brackets or (doubted and offset - doubted > _DOUBTED):
                return offset, certain

    def _follows_colon(self, at: int) -> bool:
        return self._text[max(0, at - 100) : at].rstrip().endswith(":")

    def _up_to_next(self, text: str) -> str:
        """What belongs to a damaged element: all up to the next object with the names of the first element."""
        names = self._names or ([found[1]] if (found := _KEY.match(text)) else [])
        if not names:
            return text
        start = re.compile(rf"[,\s](?=\{{\s*{re.escape(names[0])}\s*:)")
        pair = r"\s*:[^{}\[\]]*?,\s*".join(map(re.escape, names[:2]))
        both = re.compile(rf"\{{\s*{pair}\s*:")
        while True:
            for found in start.finditer(self._text, self._at + 1):
                if both.match(self._text, found.end()) or self._is_alike(found.end()):
                    return self._text[self._at : found.start()]
            if not self.fill():
                rest = self._text[self._at :]
                end = _END.search(rest)
                return rest[: end.start()] if end else rest

    def _is_alike(self, at: int) -> bool:
        try:
            value, _ = self._decoder.raw_decode(self._text, at)
        except (ValueError, RecursionError):
            return False
        if not isinstance(value, dict):
            return False
        shared = sum(json.dumps(name, ensure_ascii=False) in self._names for name in value)
        return shared * 2 >= len(self._names)

    def _skip(self, end: int) -> None:
        self.line += self._text.count("\n", self._at, end)
        self._at = end


def why_no_json(error: Exception) -> str:
    """The reason in words."""
    if isinstance(error, RecursionError):
        return "its lists and objects lie too deep."
    if isinstance(error, json.JSONDecodeError):
        error = ValueError(f"{error.msg}, character {error.pos + 1}")
    return f"it is no valid JSON ({error}). Repair it, or write the table again with a JSON library."
