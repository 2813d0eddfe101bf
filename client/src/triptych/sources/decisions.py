"""Decides what the values of each column are, over all its values: numbers, true or false, or text."""

from __future__ import annotations

from collections.abc import Mapping

from triptych.errors import InvalidInput
from triptych.sources.columns import words_of
from triptych.sources.numbers_text import one_currency
from triptych.sources.values import MARKS, ColumnCounts, ColumnKind, ColumnRule, ValueOptions, quoted

# A column of quantities (decimals, currencies, or named as a price) is one of numbers if more than half of its values
# are; a column of whole numbers, such as sizes, only if nearly all are.
QUANTITY_SHARE = 0.5
NUMBER_SHARE = 0.9
BOOLEAN_SHARE = 0.9

_CODE_WORDS = frozenset((
    "id", "ids", "gtin", "ean", "upc", "isbn", "issn", "asin", "sku", "skus", "mpn", "barcode", "zip",
    "zipcode", "postcode", "postal", "plz", "phone", "telephone", "telefon", "tel", "fax", "mobile", "iban",
    "handle", "slug", "code", "codes", "artikelnummer", "artikelnr", "artnr", "hs", "serial", "vat",
    "reference", "referenz",
))  # fmt: skip
_NUMBER_WORDS = ("nr", "no", "num", "number", "nummer", "numero", "número", "numéro")
_NUMBER_ENDINGS = ("nummer", "nr")
# Sizes are words as often as numbers: one "36-38" makes them text, and costs no product.
_SIZE_WORDS = frozenset((
    "size", "sizes", "größe", "grösse", "groesse", "taille", "pointure", "talla", "taglia", "tamanho", "maat",
    "rozmiar", "storlek", "størrelse", "koko", "velikost", "beden", "размер", "サイズ", "尺码", "尺寸", "사이즈",
))  # fmt: skip
# Currencies without cents: a mark before three digits begins thousands. "¥" is the yen or the yuan.
_WITHOUT_CENTS = frozenset(
    ("JPY", "KRW", "VND", "CLP", "PYG", "ISK", "HUF", "IDR", "UGX", "RWF", "XAF", "XOF", "XPF", "¥")
)
_QUANTITY_WORDS = frozenset((
    "price", "preis", "prix", "precio", "prezzo", "preço", "prijs", "cost", "uvp", "msrp", "rrp",
))  # fmt: skip


def decide(counts_by_column: Mapping[str, ColumnCounts], options: ValueOptions) -> dict[str, ColumnRule]:
    """The rule of each column.

    Raises:
        InvalidInput: a column whose numbers cannot be read without a decision of the user; names the option.
    """
    unknown = [name for name in options.text if name not in counts_by_column]
    if unknown:
        raise InvalidInput(
            f"There is no column {unknown[0]!r} to keep as text; there are {', '.join(counts_by_column)}."
        )
    numeric = {name: counts for name, counts in counts_by_column.items() if _kind(name, counts, options) == "number"}
    rules, problems = {}, []
    for name, counts in counts_by_column.items():
        try:
            rules[name] = _rule(name, counts, options, numeric)
        except InvalidInput as error:
            problems.append(str(error))
    if problems:
        raise InvalidInput(" ".join(problems))
    return rules


def _kind(name: str, counts: ColumnCounts, options: ValueOptions) -> ColumnKind:
    if name in options.kinds:
        kind: ColumnKind = options.kinds[name]["kind"]
        return kind
    names_code = _names_code(name)
    if name in options.text or names_code or counts.numbers + counts.typed + counts.booleans == 0:
        return "text"
    is_quantity = counts.quantities > 0 or not _QUANTITY_WORDS.isdisjoint(words_of(name))
    if counts.codes and not counts.quantities:
        return "text"
    if counts.booleans / counts.filled >= BOOLEAN_SHARE:
        return "boolean"
    share = (counts.numbers + counts.typed) / counts.filled
    if not is_quantity and not _SIZE_WORDS.isdisjoint(words_of(name)):
        return "number" if share == 1 else "text"
    is_mostly = share > QUANTITY_SHARE if is_quantity else share >= NUMBER_SHARE
    return "number" if is_mostly else "text"


def _names_code(name: str) -> bool:
    """Whether a column is named as one of codes: "EAN", "Variant SKU", "Modellnummer", "Part No."."""
    words = words_of(name)
    if not _CODE_WORDS.isdisjoint(words):
        return True
    last = words[-1] if words else ""
    return last.endswith(_NUMBER_ENDINGS) if len(last) > 6 else len(words) > 1 and last in _NUMBER_WORDS


def _rule(name: str, counts: ColumnCounts, options: ValueOptions, numeric: Mapping[str, ColumnCounts]) -> ColumnRule:
    if name in options.kinds:
        return _kept_rule(name, counts, options, numeric)
    kind = _kind(name, counts, options)
    if kind == "text":
        return ColumnRule(name, "text", stated=_text_stated(counts), notice=_text_notice(name, counts, options))
    if kind == "boolean":
        share = counts.booleans / counts.filled
        words = ", ".join(counts.examples.get("boolean", ()))
        stated = "true or false" + (f" ({words})" if words else "") + _missing(counts)
        return ColumnRule(name, "boolean", stated=stated, share=share)
    currency, foreign = _one_currency(name, counts)
    decimal = _decimal(name, counts, options, numeric, currency)
    said = ["numbers"]
    if decimal is not None:
        said.append(f"decimal {MARKS[decimal]}")
    if currency is not None:
        said.append(currency)
    if counts.percents:
        said.append("percent" if counts.percents == counts.numbers else f"{counts.percents} with a percent sign")
    fitting = max(0, _fitting(counts, decimal) - foreign)
    share = fitting / counts.filled
    notice = _number_notice(name, counts, fitting)
    return ColumnRule(name, "number", decimal, ", ".join(said) + _missing(counts), notice, share, currency)


def _number_notice(name: str, counts: ColumnCounts, fitting: int) -> str | None:
    if fitting < counts.filled:
        return (
            f"{name}: {counts.filled - fitting} of {counts.filled} values are no such numbers; their rows are refused"
        )
    if counts.percents and counts.typed:
        example = counts.examples["percent"][0]
        read = f"such as {example!r}, read as {example.strip(' %')}, with numbers as they stand"
        return f"{name} mixes {counts.percents} texts {read}: in a spreadsheet, 20% may be 0.2"
    return None


def _kept_rule(
    name: str, counts: ColumnCounts, options: ValueOptions, numeric: Mapping[str, ColumnCounts]
) -> ColumnRule:
    """The rule that an earlier import had."""
    kind: ColumnKind = options.kinds[name]["kind"]
    if kind != "number":
        return ColumnRule(name, kind, stated="true or false" if kind == "boolean" else "text")
    kept = options.kinds[name]
    currency = kept.get("currency")
    decimal = options.decimal or kept.get("decimal") or _decimal(name, counts, options, numeric, currency)
    stated = ", ".join(filter(None, ("numbers", f"decimal {MARKS[decimal]}" if decimal else None, currency)))
    return ColumnRule(name, kind, decimal, stated, currency=currency)


def _missing(counts: ColumnCounts) -> str:
    return f", {counts.missing} missing" if counts.missing else ""


def _fitting(counts: ColumnCounts, decimal: str | None) -> int:
    other = {",": ".", ".": ","}.get(decimal or "", "")
    return counts.numbers + counts.typed - (counts.marks.get(other, 0) if other else 0)


def _text_stated(counts: ColumnCounts) -> str:
    """What a column holds whose values stay as they stand."""
    if counts.other == counts.filled > 0:
        return "lists or objects"
    if counts.typed == counts.filled > 0:
        return "numbers"
    return "text and numbers, as they stand" if counts.typed else "text"


def _text_notice(name: str, counts: ColumnCounts, options: ValueOptions) -> str | None:
    if name in options.text:
        return None
    is_price = not _QUANTITY_WORDS.isdisjoint(words_of(name))
    if _names_code(name) or (counts.codes and not counts.texts and not is_price):
        if any(each[-1:].isdigit() and "e+" in each.lower() for each in counts.examples.get("code", ())):
            return (
                f"{name}: a spreadsheet has shortened codes to {counts.shown('code')}; their digits are lost. "
                "Format the column as text before saving"
            )
        return None
    if counts.binary:
        shares = f"{counts.binary} of {counts.filled} values are bytes"
        return f"{name}: {shares}, which a catalogue does not hold; they are left out"
    if counts.objects:
        return (
            f"{name}: {counts.objects} of {counts.filled} values are objects ({counts.examples['object'][0][:80]}), "
            "which no filter compares. Write what you filter by into columns of their own"
        )
    numbers = counts.numbers + counts.typed
    if counts.texts and counts.booleans * 2 > counts.filled:
        shares = f"{counts.booleans} of {counts.filled} values are true or false, others are {counts.shown('text')}"
        return f"{name} stays text: {shares}; filters compare its text"
    if numbers and (counts.texts or counts.codes or counts.booleans) and numbers * 10 >= counts.filled:
        others = counts.shown("text", "code", "boolean")
        shares = f"{numbers} of {counts.filled} values are numbers, others are {others}"
        if counts.typed:
            return f"{name} mixes numbers and text: {shares}; a filter compares those of its own kind"
        return f"{name} stays text: {shares}; filters compare its text"
    return None


def _one_currency(name: str, counts: ColumnCounts) -> tuple[str | None, int]:
    """The currency of a column, and how many prices have another one."""
    if not counts.currencies:
        return None, 0
    currency = one_currency(set(counts.currencies))
    if currency is not None:
        return currency, 0
    usual = max(counts.currencies, key=lambda each: counts.currencies[each])
    alike = [each for each in counts.currencies if one_currency({usual, each}) is not None]
    foreign = sum(count for each, count in counts.currencies.items() if each not in alike)
    if foreign <= (1 - NUMBER_SHARE) * sum(counts.currencies.values()):
        return one_currency(set(alike)) or usual, foreign
    raise InvalidInput(
        f"Column {name!r} mixes currencies ({counts.shown(*counts.currencies)}): prices that cannot be compared. "
        f"Write one currency, or keep the column as text: --text {quoted(name)}."
    )


def _decimal(
    name: str, counts: ColumnCounts, options: ValueOptions, numeric: Mapping[str, ColumnCounts], currency: str | None
) -> str | None:
    commas, points = counts.marks.get(",", 0), counts.marks.get(".", 0)
    unsure = counts.marks.get("?,", 0) + counts.marks.get("?.", 0)
    if not commas + points + unsure:
        return None
    if options.decimal is not None:
        if _fitting(counts, options.decimal) / counts.filled <= QUANTITY_SHARE:
            against = "." if options.decimal == "," else ","
            raise InvalidInput(
                f"Column {name!r} has numbers such as {counts.shown(against)}, which have no decimal "
                f"{MARKS[options.decimal]} (--decimal {quoted(options.decimal)}). Leave the option out, or keep the "
                f"column as text: --text {quoted(name)}."
            )
        return options.decimal
    if commas and points:
        major = "," if commas > points else "."
        if min(commas, points) / (commas + points) <= 1 - NUMBER_SHARE:
            return major
        choice = f" or choose: --decimal {quoted(major)} refuses the {min(commas, points)} rows with the other,"
        raise InvalidInput(
            f"Column {name!r} has decimal commas and decimal points ({counts.shown(',', '.')}). Write one mark,"
            f"{choice if max(commas, points) > QUANTITY_SHARE * counts.filled else ''} or keep the column as text: "
            f"--text {quoted(name)}."
        )
    if commas or points:
        return "," if commas else "."
    if currency in _WITHOUT_CENTS and len(counts.marks.keys() & {"?,", "?."}) == 1:
        return "." if "?," in counts.marks else ","
    return _decimal_of_file(numeric) or options.default_decimal or _refuse_unsure(name, counts)


def _decimal_of_file(numeric: Mapping[str, ColumnCounts]) -> str | None:
    """The mark that other columns of the file have; None where they have none or both."""
    commas = sum(counts.marks.get(",", 0) for counts in numeric.values())
    points = sum(counts.marks.get(".", 0) for counts in numeric.values())
    if bool(commas) == bool(points):
        return None
    return "," if commas else "."


def _refuse_unsure(name: str, counts: ColumnCounts) -> str:
    example = next(text for mark in ("?,", "?.") for text in counts.examples.get(mark, ()))
    raise InvalidInput(
        f"Column {name!r} has numbers such as {example!r}, and nothing in the file tells whether this mark begins the "
        f"decimals or the thousands. Say --decimal ',' or --decimal '.', or keep the column as text: "
        f"--text {quoted(name)}."
    )
