"""The family of errors, as a caller sees it."""

from __future__ import annotations

import copy
import pickle
import re
from collections.abc import Callable

import pytest

import triptych
from triptych import TLS, Client, ConnectionFailed, InvalidInput, Retry, TriptychError, Unavailable, UnreadableImage
from triptych._core.failures.codes import MEANINGS
from triptych._core.protocol import TransportError
from triptych._images.hashes import perceptual_hash
from triptych.testing import fake_client


def test_every_error_is_public_and_of_the_family() -> None:
    public = {value for name in triptych.__all__ if issubclass_of_error(value := getattr(triptych, name))}
    assert set(family()) == public


def issubclass_of_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def test_error_is_caught_by_its_group_when_the_caller_names_the_group() -> None:
    assert issubclass(UnreadableImage, InvalidInput)
    assert not UnreadableImage("x").retryable
    assert ConnectionFailed("x").retryable


def family() -> list[type[TriptychError]]:
    found = [TriptychError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return found


@pytest.mark.parametrize("copied", [lambda error: pickle.loads(pickle.dumps(error)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", family(), ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("code", [None, "of_tomorrow"])
def test_error_keeps_its_attributes_when_it_goes_to_another_process(
    kind: type[TriptychError], code: str | None, copied: Callable[[TriptychError], TriptychError]
) -> None:
    error = copied(kind("bad", code=code, model="recognizer", request_id="abc"))
    assert (type(error), str(error)) == (kind, "bad")
    assert (error.code, error.model, error.request_id) == (code or kind.code, "recognizer", "abc")


def test_transport_error_keeps_its_attributes_when_it_goes_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(TransportError("UNAVAILABLE", "Socket closed")))
    assert (error.status, error.detail, str(error)) == ("UNAVAILABLE", "Socket closed", "UNAVAILABLE: Socket closed")


@pytest.mark.parametrize("kind", family(), ids=lambda kind: kind.__name__)
def test_error_has_a_code_of_its_class_when_none_is_given(kind: type[TriptychError]) -> None:
    code = kind("bad").code
    assert code == kind.code
    # The two that only group others have the code of one of theirs.
    assert kind in (TriptychError, Unavailable) or MEANINGS[code].error is kind
    assert issubclass(MEANINGS[code].error, kind)


@pytest.mark.parametrize("code", MEANINGS)
def test_code_is_one_word_that_travels_when_written_in_brackets(code: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", code)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda: Client("shop:8001", timeout_s=-1), "input_invalid"),
        (lambda: Client("shop:8001", tls=TLS(root_certificates="missing.pem")), "input_invalid"),
        (lambda: fake_client().embed(b""), "input_invalid"),
        (lambda: fake_client().search_embedding([0.0, 0.0]), "input_invalid"),
        (lambda: perceptual_hash(b"no photo"), "image_unreadable"),
        (lambda: fake_client(timeout_s=1e-9).embed(b"a"), "deadline_exceeded"),
        (lambda: Client("127.0.0.1:1", retry=Retry(tries=1)).health(), "connection_failed"),
        (lambda: Client("http://127.0.0.1:1", transport="http", retry=Retry(tries=1)).health(), "connection_failed"),
    ],
)
def test_error_has_a_code_when_no_server_was_asked(call: Callable[[], object], code: str) -> None:
    with pytest.raises(TriptychError) as caught:
        call()
    assert caught.value.code == code
