"""Guesses the 8-bit or East Asian encoding of text that is not UTF-8, by the letters that product texts have."""

from __future__ import annotations

import importlib
import re

_WESTERN = "äöüßéèêëàâçñóòôíìîïáãúùûœæøåÿ"  # without ý, þ and ð: ı, ş and ğ of Turkish are more common
_CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюяёіїєґ"
# Candidates in order of preference, with the letters beyond ASCII that their languages use.
_ALPHABETS = {
    "cp1252": _WESTERN,
    "cp1254": "çğıöşüâîûi̇",
    "cp1250": "ąćęłńóśźżčřžšěůťďňőűăâîşţáéíýúäöüßľĺŕôđ",
    "mac_roman": _WESTERN,
    "cp1251": _CYRILLIC,
    "koi8_r": _CYRILLIC,
    "cp1253": "αβγδεζηθικλμνξοπρστυφχψωςάέήίόύώϊϋΐΰ",
}
_EAST_ASIAN = ["cp932", "euc_jp", "gb18030", "big5", "cp949"]
_SIGNS = "€§°®™©²³½¼¾×·–—‘’“”„«»…•´¿¡ºª\u00a0µ±£¥†"
_WORD = re.compile(r"[^\s\x00-\x2f:-@\[-`{-\x7f]+")


def guess_encoding(sample: bytes) -> str:
    """The most plausible encoding of lines that are not UTF-8; Windows-1252 if nothing speaks for another.

    East Asian encodings need charset-normalizer.
    """
    scores = {name: _plausible(sample, name, letters) for name, letters in _ALPHABETS.items()}
    best = max(scores, key=lambda name: scores[name])
    if scores[best] >= 0.75:
        return best
    try:
        normalizer = importlib.import_module("charset_normalizer")
    except ModuleNotFoundError:
        return "cp1252"
    match = normalizer.from_bytes(sample, cp_isolation=_EAST_ASIAN, threshold=0.5).best()
    return "cp1252" if match is None else str(match.encoding)


def _plausible(sample: bytes, encoding: str, letters: str) -> float:
    """The share of words with letters beyond ASCII that a language of this encoding could have."""
    text = sample.decode(encoding, "replace").replace("õe", "oe")  # õ: Portuguese before e, else an ő of Hungarian
    known = frozenset(letters + letters.upper())
    words = [word for word in _WORD.findall(text) if not word.isascii()]
    return sum(_is_word(word, known) for word in words) / len(words) if words else 0.0


def _is_word(word: str, known: frozenset[str]) -> bool:
    plain = word.strip(_SIGNS + "0123456789").replace("’", "")
    beyond = [letter for letter in plain if not letter.isascii()]
    if not all(letter in known for letter in beyond):
        return False
    is_latin = "é" in known or "ç" in known
    if (len(plain) >= 3 and len(beyond) > 0.6 * len(plain)) if is_latin else len(beyond) < len(plain):
        return False  # Latin words have plain letters, words of other scripts have none
    return plain[1:].islower() or plain.isupper() or len(plain) <= 1
