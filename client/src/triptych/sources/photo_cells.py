"""The photos in one cell of a table: several in one text, a list, a struct, or wrapped by another tool."""

from __future__ import annotations

import contextlib
import html
import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from triptych.errors import InvalidInput

# Blanks, invisible signs and quotes around a location.
_BLANKS = " \t\r\n\u00a0\u200b\u200e\u200f\ufeff"
AROUND = _BLANKS + "\"'\u201c\u201d\u201e\u201a\u2018\u2019"
_URL = re.compile(r"https?://", re.IGNORECASE)
# Parts of a cell: before a URL every sign parts, otherwise each part must end like a file's name.
_BEFORE_URL = re.compile(r"\s*[,;|\n\r\t ]\s*(?=(?:https?:)?//)", re.IGNORECASE)
# IMAGE and HYPERLINK, also in German, French, Spanish, Portuguese, Italian, Polish and Dutch; or a text alone.
_FORMULA = re.compile(
    r"=\s*(?:image|hyperlink|bild|lien_hypertexte|imagen|hipervinculo|imagem|hiperligação|hiperlink|immagine|"
    r"collegamento\.ipertestuale|obraz|hiperłącze|afbeelding)\(\s*\"([^\"]+)\"|=\s*\"([^\"]+)\"$",
    re.IGNORECASE,
)
_ATTRIBUTE = r"\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'>]+?)(?=[\s>]|/>))"
_IMG = re.compile(rf"<img\b[^>]*?\ssrc{_ATTRIBUTE}", re.IGNORECASE)
_HREF = re.compile(rf"<a\b[^>]*?\shref{_ATTRIBUTE}", re.IGNORECASE)
_MARKDOWN = re.compile(r"!\[[^\]]*\]\(\s*([^\s)]+)[^)]*\)")
_NAMED_URL = re.compile(r"[^,()]+\((https?://[^\s()]+)\)", re.IGNORECASE)
_SUFFIX = re.compile(r"\.[a-z0-9]{3,5}(?:[?#].*)?", re.IGNORECASE)
_WRAPPER = re.compile(r"(?:image|img|photo|picture|bild|foto|item)s?", re.IGNORECASE)


def photos_of(value: Any) -> Iterator[str | bytes | tuple[str, bytes]]:
    """The locations in a cell: text, several of them in one text, a list, or a struct with bytes, path or URL.

    A struct of bytes and path, as Hugging Face writes it, gives (path, bytes).

    Raises:
        InvalidInput: the value names no photo.
    """
    if isinstance(value, str):
        yield from _parted(value)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        if len(value):
            yield bytes(value)
    elif isinstance(value, Mapping):
        wrapped = [part for key, part in value.items() if part and "@" not in str(key)]
        if len(wrapped) == 1 and _WRAPPER.fullmatch(str(next(iter(value)))):  # <images><image>...</image></images>
            yield from photos_of(wrapped[0])
            return
        content = value.get("bytes")
        name = next(
            (value[key] for key in ("path", "src", "url", "href", "link") if isinstance(value.get(key), str)), None
        )
        if isinstance(content, (bytes, bytearray)) and content:
            yield bytes(content) if name is None else (name, bytes(content))
        elif name:
            yield from _parted(name)
        elif any(part is not None for part in value.values()):
            raise InvalidInput(
                f"its photo has {', '.join(map(str, value))}; expected a path, an address, or bytes and path."
            )
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from photos_of(each)
    elif value is not None:
        raise InvalidInput(f"its photo is {value!r}; expected a path or an address.")


def _parted(text: str) -> list[str]:
    found = unwrapped(text)
    if found:
        return found
    text = text.strip(AROUND)
    if text[:5].lower() == "data:":
        return [text]
    if text[:1] + text[-1:] in ("[]", "{}"):  # a list that was written into a cell
        with contextlib.suppress(ValueError):
            told = json.loads(text if '"' in text else text.replace("'", '"'))
            return [each for each in photos_of(told) if isinstance(each, str)]
    parts = [part.strip(" ,;|\t\r\n") for part in _BEFORE_URL.split(text)]
    return [each for part in parts if part for each in _paths_in(part)]


def unwrapped(text: str) -> list[str]:
    """The photos in what another tool has put around them: a formula, HTML, Markdown, "name (address)"; else none."""
    text = text.strip(_BLANKS)
    if text[:1] != "=" and not ("<" in text or "!" in text or "(" in text):
        return []
    formula = _FORMULA.match(text)
    if formula:
        return [formula[1] or formula[2]]
    if "<" in text and ">" in text:
        found = [html.unescape("".join(each)) for each in _IMG.findall(text) or _HREF.findall(text)]
        if found:
            return [each.strip() for each in found if each.strip()]
    if " ! " in text:  # WooCommerce exports of other tools: address ! alt : text ! title : text | address
        parts = [part.partition(" ! ")[0].strip() for part in text.split("|")]
        if all(_URL.match(part) for part in parts):
            return parts
    named = next((each for each in (_MARKDOWN, _NAMED_URL) if not each.sub("", text).strip(" ,;|\r\n")), None)
    return [] if named is None else named.findall(text)


def _paths_in(text: str) -> list[str]:
    for sign in ("\n", "|", ";", ","):
        parts = [part.strip() for part in text.split(sign) if part.strip()]
        if len(parts) > 1:
            is_url = _URL.match(text) or text.startswith("//")
            if sign == "\n" or (not is_url and all(_SUFFIX.fullmatch(os.path.splitext(part)[1]) for part in parts)):
                return [each for part in parts for each in _paths_in(part)]
    return [text] if text else []
