from __future__ import annotations

from urllib.parse import quote as percent_encode

import pytest

from triptych_models.errors import (
    MAX_QUOTED_CHARS,
    MODEL_CODES,
    Code,
    EngineUnavailable,
    ImageTooLarge,
    InvalidFilter,
    InvalidRequest,
    ServingError,
    Status,
    StoreFault,
    UnreadableImage,
    quoted,
    split_wire_text,
)

BEHIND = [
    "{}",
    "in ensemble 'recognizer', {}",
    "[request id: order-7] in ensemble 'searcher', {}",
    "[request id: a] {}",
]


@pytest.mark.parametrize("frame", BEHIND)
@pytest.mark.parametrize("code", MODEL_CODES, ids=lambda code: code.text)
def test_code_is_found_when_triton_puts_words_before_it(code: Code, frame: str) -> None:
    error = InvalidRequest("The sentence [sic] with 'quotes'.", code)
    found, sentence = split_wire_text(frame.format(error.wire_text))
    assert found is code
    assert sentence == error.wire_text.partition("] ")[2]


@pytest.mark.parametrize("text", ["", "no code", "[request id: x] words", "[unheard_of] words", "x[1] y"])
def test_text_without_a_known_code_is_left_alone(text: str) -> None:
    assert split_wire_text(text) == (None, text)


def test_sentence_for_the_caller_names_what_to_mend_and_nothing_of_the_server() -> None:
    fault = StoreFault("The catalogue /var/lib/secret/catalogue.sqlite3 cannot be used: disk I/O error.")
    away = EngineUnavailable("The catalogue's engine at weaviate.internal:8080 does not answer (Connection refused).")
    for error, hidden in ((fault, "/var/lib"), (fault, "disk I/O"), (away, "weaviate.internal"), (away, "refused")):
        assert hidden in str(error)  # for the log
        assert hidden not in error.wire_text
        assert error.wire_text.startswith(f"[{error.code.text}] ")
    assert InvalidFilter("No product has the field 'colr'. Did you mean 'colour'?").wire_text == (
        "[filter_invalid] No product has the field 'colr'. Did you mean 'colour'?"
    )


def test_photo_is_told_apart_in_a_request_of_several() -> None:
    for error in (UnreadableImage("got 0 bytes"), ImageTooLarge("60.0 megapixels", "50 megapixels")):
        error.add_position(1, 3)
        assert str(error).endswith("(photo 2 of 3 in this request)")
        assert error.wire_text.startswith(f"[{error.code.text}] ")


def test_every_code_travels_with_a_status_that_triton_can_give() -> None:
    given = {Status.INVALID_ARGUMENT, Status.UNAVAILABLE, Status.INTERNAL}
    assert {code.status for code in MODEL_CODES} == given
    assert all(code.status in given for code in Code if code is Code.QUEUE_FULL)  # `catalogue` passes it on
    assert {code.is_servers_fault for code in Code if code.status is Status.INVALID_ARGUMENT} == {False}
    assert Code.INTERNAL.is_servers_fault


def test_error_class_has_a_code_of_the_enum() -> None:
    def below(base: type[ServingError]) -> list[type[ServingError]]:
        return [one for child in base.__subclasses__() for one in (child, *below(child))]

    codes = [error.__dict__.get("code") for error in below(ServingError)]
    assert all(code is None or code in Code for code in codes)
    assert len([code for code in codes if code is not None]) >= 7


@pytest.mark.parametrize("text", ["x" * 20_000, "\U0001f45f" * 20_000])
def test_sentence_that_echoes_a_long_text_is_cut_and_keeps_its_advice(text: str) -> None:
    error = InvalidFilter(f"No product has the field {text!r} that the filter names. Did you mean 'colour'?")
    assert error.wire_text.startswith("[filter_invalid] No product has the field ")
    assert error.wire_text.endswith("Did you mean 'colour'?")
    # gRPC's metadata, percent-encoded, holds 16 kB with all else in it.
    assert sum(3 * len(char.encode()) for char in error.wire_text) < 12_000


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("shoe", "'shoe'"),
        (5, "5"),
        (b"\xff", "b'\\xff'"),
        ([1, 2], "a JSON list of 2 items"),
        ({"a": 1}, "a JSON object of 1 keys"),
        ("\ud800", "'\\ud800'"),
    ],
)
def test_short_value_is_quoted_whole(value: object, text: str) -> None:
    assert quoted(value) == text


@pytest.mark.parametrize("value", ["x" * 20_000, "\U0001f45f" * 20_000, b"\xff" * 20_000, "\x00" * 199, 10**400])
def test_long_value_is_cut(value: object) -> None:
    assert len(quoted(value)) <= MAX_QUOTED_CHARS + len("... (cut)")
    assert quoted(value).endswith("... (cut)")


@pytest.mark.parametrize("value", ["\U0001f45f" * 700, "\ud800" * 700, "é" * 20_000, "\n" * 700])
def test_sentence_fits_into_the_metadata_of_grpc(value: str) -> None:
    text = InvalidRequest(f"`a` is {value}; expected b.").wire_text
    assert len(percent_encode(text)) < 8_000
    assert text.startswith("[request_invalid] `a` is ")
    assert text.endswith("expected b.")
