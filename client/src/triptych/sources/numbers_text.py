"""What one text looks like: a number as shops write it, a code, true or false, a word for "missing", or text."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

MISSING = frozenset((
    "n/a", "na", "n.a.", "n.a", "#n/a", "#na", "nan", "null", "none", "nil", "-", "--", "---", "–", "—", "?",
    "(null)", "<na>", "\\n", "k.a.", "n.v.", "n.d.", "s/o", "#null!", "#value!", "#ref!", "#div/0!",
    "#name?", "undefined", "missing", "", "k. a.", "n. a.",
))  # fmt: skip
# Words that no id and no photo is.
NO_NAME = frozenset(
    ("", "-", "--", "n/a", "#n/a", "nan", "null", "none", "<na>", "(null)", "#ref!", "#value!", "#name?")
)
TRUE = frozenset((
    "true", "yes", "ja", "wahr", "oui", "vrai", "sí", "si", "verdadero", "sim", "verdadeiro", "sì", "vero",
    "tak", "prawda", "y", "да", "истина", "так", "ano", "pravda", "áno", "igen", "igaz", "da", "evet", "doğru", "kyllä",
    "sant", "sand", "はい", "是", "예", "네", "نعم", "כן",
))  # fmt: skip
FALSE = frozenset((
    "false", "no", "nein", "falsch", "non", "faux", "falso", "não", "nao", "nee", "nie", "fałsz", "n",
    "нет", "ложь", "ні", "ne", "nepravda", "nem", "hamis", "nu", "hayır", "yanlış", "ei", "nej", "nei", "いいえ", "否",
    "아니요", "아니오", "لا", "לא",
))  # fmt: skip

Kind = Literal["number", "code", "boolean", "missing", "text"]

# ISO 4217; in lower case only those that are no words or units.
CURRENCIES = frozenset((
    "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BGN", "BHD", "BIF",
    "BMD", "BND", "BOB", "BRL", "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CLP", "CNY", "COP",
    "CRC", "CUP", "CVE", "CZK", "DJF", "DKK", "DOP", "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP",
    "GEL", "GHS", "GIP", "GMD", "GNF", "GTQ", "GYD", "HKD", "HNL", "HTG", "HUF", "IDR", "ILS", "INR", "IQD",
    "IRR", "ISK", "JMD", "JOD", "JPY", "KES", "KGS", "KHR", "KMF", "KPW", "KRW", "KWD", "KYD", "KZT", "LAK",
    "LBP", "LKR", "LRD", "LSL", "LYD", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR",
    "MWK", "MXN", "MYR", "MZN", "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "OMR", "PAB", "PEN", "PGK", "PHP",
    "PKR", "PLN", "PYG", "QAR", "RON", "RSD", "RUB", "RWF", "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP",
    "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB", "TJS", "TMT", "TND", "TOP", "TRY", "TTD",
    "TWD", "TZS", "UAH", "UGX", "USD", "UYU", "UZS", "VES", "VND", "VUV", "WST", "XAF", "XCD", "XOF", "XPF",
    "YER", "ZAR", "ZMW", "ZWL",
))  # fmt: skip
_LOWER_CODES = (
    "EUR", "USD", "GBP", "CHF", "PLN", "CZK", "SEK", "NOK", "DKK", "HUF", "RUB", "JPY", "CNY", "INR", "BRL",
    "MXN", "ZAR",
)  # fmt: skip
_LOWER = {code.lower(): code for code in _LOWER_CODES}
_SIGNS = {
    "€": "EUR", "£": "GBP", "₹": "INR", "₽": "RUB", "₩": "KRW", "₺": "TRY", "₴": "UAH", "₪": "ILS", "฿": "THB",
    "₫": "VND", "₱": "PHP", "₦": "NGN", "₡": "CRC", "₸": "KZT", "₾": "GEL", "₼": "AZN", "₲": "PYG", "₵": "GHS",
    "$": "$", "¥": "¥", "R$": "BRL", "US$": "USD", "A$": "AUD", "AU$": "AUD", "C$": "CAD", "CA$": "CAD",
    "HK$": "HKD", "S$": "SGD", "NZ$": "NZD", "NT$": "TWD", "MX$": "MXN", "euro": "EUR", "euros": "EUR",
    "zł": "PLN", "kč": "CZK", "ft": "HUF", "lei": "RON", "лв": "BGN", "лв.": "BGN", "руб": "RUB", "руб.": "RUB",
    "грн": "UAH", "kr": "kr", "kr.": "kr", "rs": "INR", "rs.": "INR", "fr.": "CHF", "sfr.": "CHF", "sfr": "CHF",
    "tl": "TRY", "元": "CNY", "円": "JPY", "원": "KRW",
}  # fmt: skip
_BLANKS = {ord(blank): " " for blank in "\t\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000"}
_UNSEEN: dict[int, str] = dict.fromkeys(map(ord, "\u200b\u200e\u200f\u2060\ufeff"), "")
_ALIKE = {ord(one): "'" for one in "’‘ʼ´`＇"} | {ord(one): "-" for one in "−–—‒‐‑﹣－"}
_ARABIC = {ord("٫"): ".", ord("٬"): ","}  # the decimal mark and the sign between thousands
_CLEAN = {**_BLANKS, **_UNSEEN, **_ALIKE, **_ARABIC}

_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d+)?[eE][+-]?\d+")
_HAS_DIGIT = re.compile(r"\d").search
# Currencies and signs before and after a number are short.
_PARTS = re.compile(r"(?P<lead>\D{0,9}?)(?P<body>[.,]?\d(?:[\d.,' ]*\d)?)(?P<dash>[.,:]--?)?(?P<tail>\D{0,9})")
_SPACED = re.compile(r"\d{1,3}([ '])\d{3}(?:\1\d{3})*(?:([.,])\d+)?")
_MOST_DIGITS = 15  # a float64 has no more
_LONGEST = 48  # no number is longer, with its currency


@dataclass(frozen=True, slots=True)
class Shape:
    """What one text looks like.

    Attributes:
        kind: of the text.
        mark: of a number: the decimal mark that it must have, "," or "."; "" where every mark will do; "?," or "?."
            where this sign may be the decimal mark or part the thousands ("1,299").
        currency: of a number: a code of ISO 4217, or a sign that several currencies share ("$").
        is_percent: whether a percent sign follows.
        body, sign: digits and marks without currency; "-" or "".
    """

    kind: Kind
    mark: str = ""
    currency: str | None = None
    is_percent: bool = False
    body: str = ""
    sign: str = ""

    @property
    def is_quantity(self) -> bool:
        """Whether the text can only be a quantity, not a code: it has decimals, a currency or a percent sign."""
        return self.kind == "number" and (self.mark in (",", ".") or self.currency is not None or self.is_percent)


_TEXT, _CODE, _MISSING, _BOOLEAN = Shape("text"), Shape("code"), Shape("missing"), Shape("boolean")


@lru_cache(maxsize=1 << 16)
def shape_of(text: str) -> Shape:
    """What a text looks like."""
    if len(text) > _LONGEST:
        return _TEXT
    plain = " ".join((text if text.isascii() else text.translate(_CLEAN)).split())
    word = plain.lower()
    if word in MISSING:
        return _MISSING
    if word in TRUE or word in FALSE:
        return _BOOLEAN
    if not _HAS_DIGIT(plain):
        return _TEXT
    if not plain.isascii():
        plain = "".join(
            str(unicodedata.decimal(each)) if each.isdecimal() else each
            for each in unicodedata.normalize("NFKC", plain)
        )
    if _SCIENTIFIC.fullmatch(plain):
        return _CODE
    found = _PARTS.fullmatch(plain)
    return _TEXT if found is None else _number(found["lead"], found["body"], found["dash"] or "", found["tail"])


def truth_of(text: str) -> bool:
    """The value of a text of the kind "boolean"."""
    return " ".join(text.translate(_CLEAN).split()).lower() in TRUE


def number_of(shape: Shape, decimal: str | None) -> int | float | None:
    """The number of a text with the decimal mark of its column; None where the text does not fit this mark."""
    if shape.mark in (",", ".") and shape.mark != decimal:
        return None
    mark = decimal if decimal is not None else "."
    digits = "".join(each for each in shape.body if each.isdigit() or each == mark).replace(",", ".")
    value: int | float = float(digits) if "." in digits else int(digits)
    return -value if shape.sign == "-" else value


def _number(lead: str, body: str, dash: str, tail: str) -> Shape:
    if lead[-1:].isalpha() and body[0] == ".":  # "Fr.20": the abbreviation's point
        lead, body = f"{lead}.", body[1:]
    lead, tail, sign = _signed(lead.strip(), tail.strip())
    is_percent = "%" in (lead, tail)
    before, after = (None if each in ("", "%") else _currency(each) for each in (lead, tail))
    if (before is None and lead not in ("", "%")) or (after is None and tail not in ("", "%")):
        return _TEXT
    currency = before or after
    if before and after:
        currency = one_currency({before, after})
        if currency is None:
            return _TEXT
    mark = _mark(body)
    if mark is None or (dash and mark in (",", ".")):
        return _TEXT
    if body.isdigit() and currency is None and not is_percent:
        is_dialled = sign == "+" and len(body) > 7
        if (len(body) > 1 and body[0] == "0") or len(body) > _MOST_DIGITS or is_dialled:
            return _CODE
    if dash[:1] in (",", "."):  # "1.299,-": the dash stands for the cents
        mark = dash[0]
    return Shape("number", mark, currency, is_percent, body, "-" if sign == "-" else "")


def _signed(lead: str, tail: str) -> tuple[str, str, str]:
    """Takes the sign off: before or after a currency ("-€ 5", "€ -5"), behind the number, or as brackets."""
    if lead.startswith("(") and tail.endswith(")"):
        return lead[1:].strip(), tail[:-1].strip(), "-"
    for sign in ("-", "+"):
        if lead.startswith(sign):
            return lead[1:].strip(), tail, sign
        if lead.endswith(sign):
            return lead[:-1].strip(), tail, sign
    return (lead, tail[1:].strip(), "-") if tail.startswith("-") else (lead, tail, "")


def _currency(text: str) -> str | None:
    if text in CURRENCIES:
        return text
    return _LOWER.get(text.lower()) or _SIGNS.get(text) or _SIGNS.get(text.lower())


def one_currency(found: set[str]) -> str | None:
    """The only currency of several names: "$" may be of one dollar, "kr" of one crown; None for a mixture."""
    shared = {"$": "USD AUD CAD HKD SGD NZD TWD MXN ARS CLP COP", "kr": "SEK NOK DKK ISK", "¥": "JPY CNY"}
    exact = found - shared.keys()
    if len(exact) > 1 or (not exact and len(found) > 1):
        return None
    if not exact:
        return next(iter(found), None)
    (currency,) = exact
    return currency if all(currency in shared[sign].split() for sign in found - exact) else None


def _mark(body: str) -> str | None:
    """The decimal mark of digits and marks, see `Shape`; None where they are no number ("12.05.2026")."""
    if body.isdigit():
        return ""
    if " " in body or "'" in body:
        spaced = _SPACED.fullmatch(body)
        return None if spaced is None else spaced[2] or ""
    commas, points = body.count(","), body.count(".")
    if commas and points:
        decimal = "," if body.rfind(",") > body.rfind(".") else "."
        whole, _, rest = body.rpartition(decimal)
        return decimal if rest.isdigit() and _is_grouped(whole, "." if decimal == "," else ",") else None
    mark = "," if commas else "."
    if commas + points > 1:
        return ("." if mark == "," else ",") if _is_grouped(body, mark) else None
    whole, _, rest = body.partition(mark)
    return f"?{mark}" if len(rest) == 3 and _may_be_thousands(whole) else mark


def _may_be_thousands(whole: str) -> bool:
    return 1 <= len(whole) <= 3 and whole[0] != "0"


def _is_grouped(text: str, mark: str) -> bool:
    """Whether a mark parts thousands: 1,299,000; with commas also 12,99,000 as in India."""
    first, *groups = text.split(mark)
    if not groups or not _may_be_thousands(first) or not all(group.isdigit() for group in groups):
        return False
    lengths = {len(group) for group in groups[:-1]}
    return len(groups[-1]) == 3 and (lengths <= {3} or (mark == "," and lengths == {2}))
