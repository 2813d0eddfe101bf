"""What texts and columns of values mean."""

from __future__ import annotations

from typing import Any

import pytest

from triptych.errors import InvalidInput
from triptych.sources.decisions import decide
from triptych.sources.numbers_text import number_of, shape_of, truth_of
from triptych.sources.values import ABSENT, ColumnCounts, ColumnRule, ValueFault, ValueOptions


def rules_of(options: ValueOptions | None = None, /, **columns: Any) -> dict[str, ColumnRule]:
    counts_by_column = {name: ColumnCounts() for name in columns}
    for name, values in columns.items():
        for value in values:
            counts_by_column[name].add(value)
    return decide(counts_by_column, options or ValueOptions())


@pytest.mark.parametrize(
    ("text", "decimal", "expected"),
    [
        ("59,90", ",", 59.9),
        ("1.299,00", ",", 1299),
        ("1,299.00", ".", 1299),
        ("1 299,00", ",", 1299),
        ("1\u00a0299,00", ",", 1299),
        ("1\u202f299,50", ",", 1299.5),
        ("1\u2009299\u2009000", ",", 1299000),
        ("1'299.00", ".", 1299),
        ("1’299.50", ".", 1299.5),
        ("12,99,000.00", ".", 1299000),
        ("1.299.000", ",", 1299000),
        ("1,299", ".", 1299),
        ("1,299", ",", 1.299),
        ("0,299", ",", 0.299),
        ("1299,123", ",", 1299.123),
        ("EUR 20", None, 20),
        ("20 €", None, 20),
        ("€20", None, 20),
        ("20EUR", None, 20),
        ("US$ 20", None, 20),
        ("$1,299", ".", 1299),
        ("R$ 10,50", ",", 10.5),
        ("kr 1 299", None, 1299),
        ("Fr. 20", None, 20),
        ("Fr.20", None, 20),
        ("Rs. 1,299.50", ".", 1299.5),
        ("99,-", ",", 99),
        ("1.299,- €", ",", 1299),
        ("CHF 99.–", ".", 99),
        ("1 299:-", None, 1299),
        (".99", ".", 0.99),
        (",5", ",", 0.5),
        ("20 %", None, 20),
        ("12,5%", ",", 12.5),
        ("+5", None, 5),
        ("-5", None, -5),
        ("\u22125,5", ",", -5.5),
        ("€ -5", None, -5),
        ("-€5", None, -5),
        ("(20.50)", ".", -20.5),
        ("20,50-", ",", -20.5),
        ("１２９９", None, 1299),
        (" 20 ", None, 20),
        ("\u200b20", None, 20),
        ("0", None, 0),
    ],
)
def test_number_is_read_when_shops_write_it(text: str, decimal: str | None, expected: float) -> None:
    shape = shape_of(text)
    assert shape.kind == "number"
    assert number_of(shape, decimal) == expected


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("007", "code"),
        ("4006381333931999", "code"),
        ("4.00638E+12", "code"),
        ("1e5", "code"),
        ("+491711234567", "code"),
        ("12.05.2026", "text"),
        ("1.2.3", "text"),
        ("10-20", "text"),
        ("1/2", "text"),
        ("10 cm", "text"),
        ("7 UP", "text"),
        ("2 pack", "text"),
        ("1 2 3", "text"),
        ("20 EUR/piece", "text"),
        ("59,90,10", "text"),
        ("M", "text"),
        ("12345678901234567890 and a long text with many words after it", "text"),
        ("yes", "boolean"),
        ("FALSE", "boolean"),
        ("Ja", "boolean"),
        ("vrai", "boolean"),
        ("n/a", "missing"),
        ("-", "missing"),
        ("NULL", "missing"),
        ("NaN", "missing"),
        ("None", "missing"),
        ("#N/A", "missing"),
        ("", "missing"),
    ],
)
def test_text_is_no_number_when_it_is_a_code_a_word_or_a_date(text: str, kind: str) -> None:
    assert shape_of(text).kind == kind


def test_truth_is_read_in_several_languages() -> None:
    assert [truth_of(text) for text in ("TRUE", "Yes", "ja", "vrai", "no", "Falsch", "False")] == [True] * 4 + [
        False
    ] * 3


def test_rule_of_a_column_is_stated_when_all_values_are_numbers() -> None:
    rules = rules_of(price=["59,90 €", "1.299,00 €", "20", "n/a"], new=["yes", "No"], size=["38", "39"])
    assert rules["price"].stated == "numbers, decimal comma, EUR, 1 missing"
    assert [rules["price"].value_of(text) for text in ("59,90 €", "1.299,00 €", "20")] == [59.9, 1299, 20]
    assert rules["price"].value_of("n/a") is ABSENT
    assert rules["new"].stated == "true or false (yes, No)"
    assert rules["new"].value_of("No") is False
    assert rules["size"].value_of("38") == 38


@pytest.mark.parametrize(
    "name",
    [
        *("EAN", "gtin", "Variant SKU", "mpn", "zip", "PLZ", "phone", "item_group_id", "parentId", "Barcode"),
        *("Modellnummer", "Hersteller-Nr.", "Part No.", "style number", "Bestellnr"),
    ],
)
def test_codes_stay_text_when_the_column_is_named_so(name: str) -> None:
    assert rules_of(**{name: ["12345", "67890"]})[name].value_of("12345") == "12345"


@pytest.mark.parametrize("name", ["number", "Number of pieces", "no", "stock", "identity", "valid", "width"])
def test_numbers_are_numbers_when_the_column_only_sounds_like_codes(name: str) -> None:
    assert rules_of(**{name: ["12345", "67890"]})[name].value_of("12345") == 12345


@pytest.mark.parametrize("code", ["00123", "4006381333931999", "1E+05"])
def test_codes_stay_text_when_one_of_them_can_be_no_number(code: str) -> None:
    rule = rules_of(ref=[*map(str, range(12345, 12375)), code])["ref"]
    assert rule.value_of("12345") == "12345"


def test_value_is_its_rows_fault_when_nearly_all_others_are_numbers() -> None:
    rule = rules_of(stock=[*map(str, range(1, 20)), "many"])["stock"]
    with pytest.raises(
        ValueFault, match="stock is 'many', which is no number; 95% of the column's values are"
    ) as caught:
        rule.value_of("many")
    assert (caught.value.column, caught.value.value) == ("stock", "many")
    assert rule.notice is not None
    assert "1 of 20 values" in rule.notice


def test_price_is_its_rows_fault_when_more_than_half_are_prices() -> None:
    rule = rules_of(price=["59,90", "20,00", "on request"])["price"]
    assert rule.value_of("59,90") == 59.9
    with pytest.raises(ValueFault, match=r"66\.7% of the column's values are numbers"):
        rule.value_of("on request")


def test_column_stays_text_with_a_notice_when_it_is_a_mixture() -> None:
    rule = rules_of(size=["38", "39", "M", "L"])["size"]
    assert rule.value_of("38") == "38"
    assert rule.notice == "size stays text: 2 of 4 values are numbers, others are 'M', 'L'; filters compare its text"


def test_thousands_are_told_from_decimals_when_another_column_decides() -> None:
    assert rules_of(price=["1,299", "2,500"], weight=["2.5"])["price"].value_of("1,299") == 1299
    assert rules_of(price=["1,299", "2,500"], weight=["2,5"])["price"].value_of("1,299") == 1.299
    assert rules_of(price=["1,299", "59.90"])["price"].value_of("1,299") == 1299


def test_column_is_refused_when_nothing_decides_its_thousands() -> None:
    with pytest.raises(InvalidInput, match=r"Column 'price' has numbers such as '1,299'.*--decimal ','.*--text price"):
        rules_of(price=["1,299", "2,500"])
    assert rules_of(ValueOptions(decimal="."), price=["1,299"])["price"].value_of("1,299") == 1299
    assert rules_of(ValueOptions(decimal=","), price=["1,299"])["price"].value_of("1,299") == 1.299
    assert rules_of(ValueOptions(text=("price",)), price=["1,299"])["price"].value_of("1,299") == "1,299"
    assert rules_of(ValueOptions(default_decimal="."), price=["1,299"])["price"].value_of("1,299") == 1299


def test_column_is_refused_when_it_mixes_currencies_or_marks() -> None:
    with pytest.raises(InvalidInput, match=r"mixes currencies \('20 EUR', '\$20'\).*--text 'my price'"):
        rules_of(**{"my price": ["20 EUR", "$20"]})
    with pytest.raises(InvalidInput, match="decimal commas and decimal points"):
        rules_of(price=["59,90", "59.90"])
    with pytest.raises(InvalidInput, match=r"--decimal '\.'"):
        rules_of(ValueOptions(decimal="."), price=["59,90", "20,10"])
    assert rules_of(price=["$20", "USD 30", "40"])["price"].stated == "numbers, USD"


def test_every_column_at_fault_is_named_when_several_are() -> None:
    with pytest.raises(InvalidInput, match=r"'a' mixes currencies.*'b' mixes currencies"):
        rules_of(a=["€1", "£1"], b=["€1", "£1"])


def test_option_is_refused_when_its_column_is_not_there() -> None:
    with pytest.raises(InvalidInput, match="no column 'prise' to keep as text; there are price"):
        rules_of(ValueOptions(text=("prise",)), price=["1"])
    with pytest.raises(InvalidInput, match="decimal mark is ';'"):
        ValueOptions(decimal=";")


def test_typed_values_stay_when_texts_beside_them_are_numbers() -> None:
    rule = rules_of(price=[20, 30.5, "59,90", float("nan")])["price"]
    assert [rule.value_of(value) for value in (20, 30.5, "59,90")] == [20, 30.5, 59.9]
    assert rule.value_of(float("nan")) is ABSENT
    assert rules_of(tags=[["a"], ["b"]])["tags"].value_of(["a"]) == ["a"]
    assert rules_of(flag=[True, False])["flag"].value_of(True) is True


def test_typed_columns_are_stated_as_what_they_hold() -> None:
    rules = rules_of(
        price=[1, 2.5], ean=[4006381333931], tags=[["a"]], new=[True], size=[38, 39, "M"], cost=[5, 6, "?"]
    )
    assert {name: rule.stated for name, rule in rules.items()} == {
        "price": "numbers",
        "ean": "numbers",
        "tags": "lists or objects",
        "new": "true or false",
        "size": "text and numbers, as they stand",
        "cost": "numbers, 1 missing",
    }
    assert rules["size"].notice is not None
    assert "size mixes numbers and text: 2 of 3 values are numbers, others are 'M'" in rules["size"].notice
    with pytest.raises(ValueFault, match="'on request', which is no number"):
        rules_of(price=[1, 2.5, 3, "on request"])["price"].value_of("on request")


def test_rule_of_an_earlier_import_holds_when_few_rows_are_left() -> None:
    kinds = {"price": {"kind": "number", "decimal": ","}, "size": {"kind": "text"}}
    rules = rules_of(ValueOptions(kinds=kinds), price=["1.299"], size=["38"])
    assert (rules["price"].value_of("1.299"), rules["size"].value_of("38")) == (1299, "38")


@pytest.mark.parametrize("name", ["size", "Größe", "Shoe size", "taille", "Rozmiar", "サイズ"])
def test_sizes_stay_text_when_one_of_them_is_no_number(name: str) -> None:
    rule = rules_of(**{name: [*map(str, range(30, 60)), "36-38"]})[name]
    assert (rule.value_of("36"), rule.value_of("36-38")) == ("36", "36-38")
    assert rule.notice is not None
    assert "30 of 31 values are numbers, others are '36-38'" in rule.notice
    assert rules_of(**{name: ["36", "37"]})[name].value_of("36") == 36


@pytest.mark.parametrize(
    ("values", "value", "number"),
    [
        (["¥1,000", "2,980円"], "2,980円", 2980),
        (["1,000 JPY"], "1,000 JPY", 1000),
        (["₩12.000", "₩9.000"], "₩9.000", 9000),
        (["12.000 ₫"], "12.000 ₫", 12000),
        (["1.000 Ft", "25.000 Ft"], "25.000 Ft", 25000),
    ],
)
def test_mark_begins_thousands_when_the_currency_has_no_cents(values: list[str], value: str, number: int) -> None:
    assert rules_of(price=values)["price"].value_of(value) == number


def test_price_is_its_rows_fault_when_nearly_all_others_have_another_currency() -> None:
    rule = rules_of(price=[*(f"{number}.50 EUR" for number in range(19)), "5.00 USD", "7.00"])["price"]
    assert (rule.value_of("3.50 EUR"), rule.value_of("7.00"), rule.stated) == (3.5, 7, "numbers, decimal point, EUR")
    assert rule.notice == "price: 1 of 21 values are no such numbers; their rows are refused"
    with pytest.raises(ValueFault, match=r"price is '5\.00 USD', which is a price in USD; .* are numbers in EUR"):
        rule.value_of("5.00 USD")
    again = rules_of(ValueOptions(kinds={"price": rule.as_json()}), price=["5.00 USD"])["price"]
    with pytest.raises(ValueFault, match="a price in USD"):
        again.value_of("5.00 USD")
    assert again.value_of("5.00 EUR") == 5


@pytest.mark.parametrize(
    ("values", "notice"),
    [
        (["ja", "nein", "ja", "vielleicht"], "3 of 4 values are true or false, others are 'vielleicht'"),
        ([{"amount": "19.90", "currency": "EUR"}], "1 of 1 values are objects (amount, currency)"),
        ([5, {"amount": 5}], "1 of 2 values are objects (amount)"),
    ],
)
def test_notice_is_given_when_a_filter_cannot_compare_a_column(values: list[Any], notice: str) -> None:
    rule = rules_of(price=values)["price"]
    assert rule.notice is not None
    assert notice in rule.notice


def test_refusal_of_two_decimal_marks_names_the_option_that_refuses_only_their_rows() -> None:
    with pytest.raises(InvalidInput, match=r"--decimal ',' refuses the 1 rows with the other"):
        rules_of(price=["59,90", "49,90", "59.90"])


@pytest.mark.parametrize(
    ("values", "value"),
    [
        ([*range(1, 20), True], True),
        ([*range(1, 20), {"amount": 5}], {"amount": 5}),
        ([*range(1, 20), ["5"]], ["5"]),
        ([True] * 19 + [7], 7),
        (["yes"] * 19 + [7], 7),
    ],
)
def test_typed_value_is_its_rows_fault_when_nearly_all_others_are_of_another_kind(
    values: list[Any], value: Any
) -> None:
    rule = rules_of(stock=values)["stock"]
    with pytest.raises(ValueFault, match="95% of the column's values are"):
        rule.value_of(value)


@pytest.mark.parametrize("value", [b"\xff", {"bytes": b"\xff", "path": None}, [b"\xff"]])
def test_bytes_are_left_out_and_named_when_they_are_no_photo(value: Any) -> None:
    rule = rules_of(thumb=[value, value])["thumb"]
    assert rule.value_of(value) is ABSENT
    assert rule.notice == "thumb: 2 of 2 values are bytes, which a catalogue does not hold; they are left out"


@pytest.mark.parametrize(
    ("values", "notice"),
    [
        ([0.1, 0.2, "20%"], "discount mixes 1 texts such as '20%', read as 20, with numbers as they stand"),
        (["1.5E3", "2000"], "discount price stays text: 1 of 2 values are numbers, others are '1.5E3'"),
    ],
)
def test_notice_is_given_when_quantities_are_written_in_two_ways(values: list[Any], notice: str) -> None:
    name = notice.split(" mixes")[0].split(" stays")[0]
    rule = rules_of(**{name: values})[name]
    assert rule.notice is not None
    assert rule.notice.startswith(notice)


@pytest.mark.parametrize(
    "words",
    [("Да", "Нет"), ("はい", "いいえ"), ("是", "否"), ("evet", "hayır"), ("ano", "ne"), ("igen", "nem"), ("نعم", "لا")],
)
def test_truth_is_read_in_further_languages(words: tuple[str, str]) -> None:
    rule = rules_of(stock=list(words))["stock"]
    assert [rule.value_of(word) for word in words] == [True, False]


def test_numbers_are_read_when_arabic_signs_part_them() -> None:
    rule = rules_of(price=["١٢٫٥", "١٬٢٩٩", "١٢٣"])["price"]
    assert [rule.value_of(text) for text in ("١٢٫٥", "١٬٢٩٩", "١٢٣")] == [12.5, 1299, 123]
