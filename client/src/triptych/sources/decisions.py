"""Decides what the values of each column are, over all its values: numbers, true or false, or text."""

from __future__ import annotations

from collections.abc import Mapping

from triptych.errors import InvalidInput
from triptych.sources.columns import words_of
from triptych.sources.numbers_text import one_currency
from triptych.sources.values import MARKS, ColumnKind, ColumnRule, ColumnTally, ValueOptions, quoted

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


def decide(tallies: Mapping[str, ColumnTally], options: ValueOptions) -> dict[str, ColumnRule]:
    """The rule of each column.

    Raises:
        InvalidInput: a column whose numbers cannot be read without a decision of the user; names the option.
    """
    unknown = [name for name in options.text if name not in tallies]
    if unknown:
        raise InvalidInput(f"There is no column {unknown[0]!r} to keep as text; there are {', '.join(tallies)}.")
    numeric = {name: tally for name, tally in tallies.items() if _kind(name, tally, options) == "number"}
    rules, problems = {}, []
    for name, tally in tallies.items():
        try:
            rules[name] = _rule(name, tally, options, numeric)
        except InvalidInput as error:
            problems.append(str(error))
    if problems:
        raise InvalidInput(" ".join(problems))
    return rules


def _kind(name: str, tally: ColumnTally, options: ValueOptions) -> ColumnKind:
    if name in options.kinds:
        kind: ColumnKind = options.kinds[name]["kind"]
        return kind
    names_code = _names_code(name)
    if name in options.text or names_code or tally.numbers + tally.typed + tally.booleans == 0:
        return "text"
    is_quantity = tally.quantities > 0 or not _QUANTITY_WORDS.isdisjoint(words_of(name))
    if tally.codes and not tally.quantities:
        return "text"
    if tally.booleans / tally.filled >= BOOLEAN_SHARE:
        return "boolean"
    share = (tally.numbers + tally.typed) / tally.filled
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


def _rule(name: str, tally: ColumnTally, options: ValueOptions, numeric: Mapping[str, ColumnTally]) -> ColumnRule:
    if name in options.kinds:
        return _kept_rule(name, tally, options, numeric)
    kind = _kind(name, tally, options)
    if kind == "text":
        return ColumnRule(name, "text", stated=_text_stated(tally), notice=_text_notice(name, tally, options))
    if kind == "boolean":
        share = tally.booleans / tally.filled
        words = ", ".join(tally.examples.get("boolean", ()))
        stated = "true or false" + (f" ({words})" if words else "") + _missing(tally)
        return ColumnRule(name, "boolean", stated=stated, share=share)
    currency, foreign = _one_currency(name, tally)
    decimal = _decimal(name, tally, options, numeric, currency)
    said = ["numbers"]
    if decimal is not None:
        said.append(f"decimal {MARKS[decimal]}")
    if currency is not None:
        said.append(currency)
    if tally.percents:
        said.append("percent" if tally.percents == tally.numbers else f"{tally.percents} with a percent sign")
    fitting = max(0, _fitting(tally, decimal) - foreign)
    share = fitting / tally.filled
    notice = _number_notice(name, tally, fitting)
    return ColumnRule(name, "number", decimal, ", ".join(said) + _missing(tally), notice, share, currency)


def _number_notice(name: str, tally: ColumnTally, fitting: int) -> str | None:
    if fitting < tally.filled:
        return f"{name}: {tally.filled - fitting} of {tally.filled} values are no such numbers; their rows are refused"
    if tally.percents and tally.typed:
        example = tally.examples["percent"][0]
        read = f"such as {example!r}, read as {example.strip(' %')}, with numbers as they stand"
        return f"{name} mixes {tally.percents} texts {read}: in a spreadsheet, 20% may be 0.2"
    return None


def _kept_rule(name: str, tally: ColumnTally, options: ValueOptions, numeric: Mapping[str, ColumnTally]) -> ColumnRule:
    """The rule that an earlier import had."""
    kind: ColumnKind = options.kinds[name]["kind"]
    if kind != "number":
        return ColumnRule(name, kind, stated="true or false" if kind == "boolean" else "text")
    kept = options.kinds[name]
    currency = kept.get("currency")
    decimal = options.decimal or kept.get("decimal") or _decimal(name, tally, options, numeric, currency)
    stated = ", ".join(filter(None, ("numbers", f"decimal {MARKS[decimal]}" if decimal else None, currency)))
    return ColumnRule(name, kind, decimal, stated, currency=currency)


def _missing(tally: ColumnTally) -> str:
    return f", {tally.missing} missing" if tally.missing else ""


def _fitting(tally: ColumnTally, decimal: str | None) -> int:
    other = {",": ".", ".": ","}.get(decimal or "", "")
    return tally.numbers + tally.typed - (tally.marks.get(other, 0) if other else 0)


def _text_stated(tally: ColumnTally) -> str:
    """What a column holds whose values stay as they stand."""
    if tally.other == tally.filled > 0:
        return "lists or objects"
    if tally.typed == tally.filled > 0:
        return "numbers"
    return "text and numbers, as they stand" if tally.typed else "text"


def _text_notice(name: str, tally: ColumnTally, options: ValueOptions) -> str | None:
    if name in options.text:
        return None
    is_price = not _QUANTITY_WORDS.isdisjoint(words_of(name))
    if _names_code(name) or (tally.codes and not tally.texts and not is_price):
        if any(each[-1:].isdigit() and "e+" in each.lower() for each in tally.examples.get("code", ())):
            return (
                f"{name}: a spreadsheet has shortened codes to {tally.shown('code')}; their digits are lost. "
                "Format the column as text before saving"
            )
        return None
    if tally.binary:
        shares = f"{tally.binary} of {tally.filled} values are bytes"
        return f"{name}: {shares}, which a catalogue does not hold; they are left out"
    if tally.objects:
        return (
            f"{name}: {tally.objects} of {tally.filled} values are objects ({tally.examples['object'][0][:80]}), which "
            "no filter compares. Write what you filter by into columns of their own"
        )
    numbers = tally.numbers + tally.typed
    if tally.texts and tally.booleans * 2 > tally.filled:
        shares = f"{tally.booleans} of {tally.filled} values are true or false, others are {tally.shown('text')}"
        return f"{name} stays text: {shares}; filters compare its text"
    if numbers and (tally.texts or tally.codes or tally.booleans) and numbers * 10 >= tally.filled:
        others = tally.shown("text", "code", "boolean")
        shares = f"{numbers} of {tally.filled} values are numbers, others are {others}"
        if tally.typed:
            return f"{name} mixes numbers and text: {shares}; a filter compares those of its own kind"
        return f"{name} stays text: {shares}; filters compare its text"
    return None


def _one_currency(name: str, tally: ColumnTally) -> tuple[str | None, int]:
    """The currency of a column, and how many prices have another one."""
    if not tally.currencies:
        return None, 0
    currency = one_currency(set(tally.currencies))
    if currency is not None:
        return currency, 0
    usual = max(tally.currencies, key=lambda each: tally.currencies[each])
    alike = [each for each in tally.currencies if one_currency({usual, each}) is not None]
    foreign = sum(count for each, count in tally.currencies.items() if each not in alike)
    if foreign <= (1 - NUMBER_SHARE) * sum(tally.currencies.values()):
        return one_currency(set(alike)) or usual, foreign
    raise InvalidInput(
        f"Column {name!r} mixes currencies ({tally.shown(*tally.currencies)}): prices that cannot be compared. "
        f"Write one currency, or keep the column as text: --text {quoted(name)}."
    )


def _decimal(
    name: str, tally: ColumnTally, options: ValueOptions, numeric: Mapping[str, ColumnTally], currency: str | None
) -> str | None:
    commas, points = tally.marks.get(",", 0), tally.marks.get(".", 0)
    unsure = tally.marks.get("?,", 0) + tally.marks.get("?.", 0)
    if not commas + points + unsure:
        return None
    if options.decimal is not None:
        if _fitting(tally, options.decimal) / tally.filled <= QUANTITY_SHARE:
            against = "." if options.decimal == "," else ","
            raise InvalidInput(
                f"Column {name!r} has numbers such as {tally.shown(against)}, which have no decimal "
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
            f"Column {name!r} has decimal commas and decimal points ({tally.shown(',', '.')}). Write one mark,"
            f"{choice if max(commas, points) > QUANTITY_SHARE * tally.filled else ''} or keep the column as text: "
            f"--text {quoted(name)}."
        )
    if commas or points:
        return "," if commas else "."
    if currency in _WITHOUT_CENTS and len(tally.marks.keys() & {"?,", "?."}) == 1:
        return "." if "?," in tally.marks else ","
    return _decimal_of_file(numeric) or options.default_decimal or _refuse_unsure(name, tally)


def _decimal_of_file(numeric: Mapping[str, ColumnTally]) -> str | None:
    """The mark that other columns of the file have; None where they have none or both."""
    commas = sum(tally.marks.get(",", 0) for tally in numeric.values())
    points = sum(tally.marks.get(".", 0) for tally in numeric.values())
    if bool(commas) == bool(points):
        return None
    return "," if commas else "."


def _refuse_unsure(name: str, tally: ColumnTally) -> str:
    example = next(text for mark in ("?,", "?.") for text in tally.examples.get(mark, ()))
    raise InvalidInput(
        f"Column {name!r} has numbers such as {example!r}, and nothing in the file tells whether this mark begins the "
        f"decimals or the thousands. Say --decimal ',' or --decimal '.', or keep the column as text: "
        f"--text {quoted(name)}."
    )
