from __future__ import annotations

import pytest

from triptych_models.errors import Code, InvalidRequest
from triptych_models.json_objects import MAX_DEPTH, parse_object


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 9223372036854775808}',
        b'{"a": ' + b"9" * 5_000 + b"}",
        b'{"a": "\\ud800"}',
        b'{"\\uDfff": 1}',
        b'{"a": "\xed\xa0\x80"}',  # the same, encoded
        b'{"a": "\xff"}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": ' * 2_000,
        b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"a": ' + b"[" * MAX_DEPTH + b"]" * MAX_DEPTH + b"}",
    ],
)
def test_text_that_cannot_be_stored_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_object(text, "query")
    assert refusal.value.code is Code.REQUEST_INVALID
    assert "`query`" in str(refusal.value)
    assert len(refusal.value.wire_text) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b"{}", {}),
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": -9223372036854775808}', {"a": -(2**63)}),
        ('{"Gr\u00f6\u00dfe": "\u00e9"}'.encode(), {"Gr\u00f6\u00dfe": "\u00e9"}),
        (b'{"a": "\\ud83d\\udc5f"}', {"a": "\U0001f45f"}),
        (b'{"a": ' + b"[" * (MAX_DEPTH - 2) + b"]" * (MAX_DEPTH - 2) + b"}", None),
    ],
)
def test_object_that_can_be_stored_is_read(text: bytes, value: object) -> None:
    parsed = parse_object(text, "query")
    assert value is None or parsed == value


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            b'{"items": [{}, {"fields": {"ean": ' + b"9" * 30 + b"}}]}",
            "'ean' of 'fields' of item 1 is a whole number of 30",
        ),
        (
            b'{"items": [{"fields": {"t": ["a", "\\ud83d"]}}]}',
            "1 of 't' of 'fields' of item 0 has an unpaired surrogate",
        ),
        (b'{"items": [{"fields": {"a\\ud83d": 1}}]}', "a name in 'fields' of item 0 has an unpaired surrogate"),
        (b'{"items": [{"fields": {"p": 1e400}}]}', "'p' of 'fields' of item 0 is a number that is too large"),
        (b'{"filter": {"price": {"lt": NaN}}}', "'lt' of 'price' of 'filter' is NaN"),
        (b'{"a": "\xff"}', "byte 7 is no UTF-8"),
    ],
)
def test_refusal_names_the_place_of_what_cannot_be_stored(text: bytes, told: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_object(text, "request")
    assert f"`request` is invalid: {told}" in str(refusal.value)
