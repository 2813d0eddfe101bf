"""What goes over HTTP and how what comes back is read; which address is asked next."""

from __future__ import annotations

import json
import struct

import grpc
import numpy as np
import pytest

from triptych import InvalidInput
from triptych._core.failures.translation import read
from triptych._core.protocol import (
    InferRequest,
    Question,
    RequestedOutput,
    TransportError,
    model_metadata,
    model_ready,
    repository_index,
    server_live,
)
from triptych._transport.connection import check_headers
from triptych._transport.http_encoding import (
    COOL_OFF_S,
    JSON_LENGTH,
    Addresses,
    HttpAnswer,
    decode_answer,
    decode_infer,
    encode_infer,
    encode_question,
    is_leaving,
)

REQUEST = InferRequest(
    "recognizer",
    "image",
    (b"first", b"second one"),
    (RequestedOutput("category_scores", class_count=3), RequestedOutput("embedding")),
    "abc123",
)
CLASSES = struct.pack("<I", 9) + b"0.9:7:hat"
NUMBERS = np.array([[0.6, 0.8]], np.float32).tobytes()


def infer_answer(**changes: object) -> HttpAnswer:
    outputs = [
        {"name": "category_scores", "datatype": "BYTES", "shape": [1, 1], "parameters": {"binary_data_size": 13}},
        {"name": "embedding", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}},
    ]
    header = json.dumps({"model_name": "recognizer", "model_version": "1", "outputs": outputs, **changes}).encode()
    return HttpAnswer(200, {JSON_LENGTH: str(len(header))}, header + CLASSES + NUMBERS)


def test_request_is_a_header_and_the_photos_behind_their_lengths() -> None:
    sent = encode_infer(REQUEST, 2.5, {"Authorization": "Bearer x"})
    size = int(sent.headers[JSON_LENGTH])
    assert (sent.verb, sent.path, sent.headers["authorization"]) == ("POST", "/v2/models/recognizer/infer", "Bearer x")
    assert sent.body[size:] == b"\x05\0\0\0first\x0a\0\0\0second one"
    assert json.loads(sent.body[:size]) == {
        "id": "abc123",
        "parameters": {"timeout": 2_500_000},
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [2, 1], "parameters": {"binary_data_size": 23}}],
        "outputs": [
            {"name": "category_scores", "parameters": {"binary_data": True, "classification": 3}},
            {"name": "embedding", "parameters": {"binary_data": True}},
        ],
    }


def test_secrets_stay_out_of_the_repr_of_a_request() -> None:
    assert "Bearer" not in repr(encode_infer(REQUEST, 1, {"authorization": "Bearer x"}))


def test_answer_gives_each_output_its_own_bytes() -> None:
    answer = decode_infer(infer_answer())
    assert answer.model_version == "1"
    assert bytes(answer.tensors["category_scores"].content) == CLASSES
    assert (answer.tensors["embedding"].datatype, answer.tensors["embedding"].shape) == ("FP32", (1, 2))
    assert bytes(answer.tensors["embedding"].content) == NUMBERS


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (HttpAnswer(200, {"content-type": "text/html"}, b"<html>welcome</html>"), "UNIMPLEMENTED"),
        (HttpAnswer(200, {}, b""), "UNIMPLEMENTED"),
        (HttpAnswer(200, {}, b"{}"), "UNIMPLEMENTED"),
        (HttpAnswer(200, {JSON_LENGTH: "many"}, b"{}"), "UNIMPLEMENTED"),
        (infer_answer(outputs=[{"name": "embedding", "datatype": "FP32", "shape": [1], "data": [1]}]), "UNIMPLEMENTED"),
        (infer_answer(outputs=[]), "INTERNAL"),
    ],
    ids=["page", "empty", "no outputs", "odd length", "numbers as text", "bytes left over"],
)
def test_answer_is_a_failure_when_it_is_not_of_the_protocol(answer: HttpAnswer, status: str) -> None:
    with pytest.raises(TransportError) as caught:
        decode_infer(answer)
    assert caught.value.status == status


MEANINGS = {
    301: "UNIMPLEMENTED",
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    409: "ALREADY_EXISTS",
    413: "RESOURCE_EXHAUSTED",
    418: "UNKNOWN",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
    599: "UNKNOWN",
}


@pytest.mark.parametrize(("code", "status"), MEANINGS.items())
def test_refusal_has_the_status_of_its_code_and_the_words_of_the_server(code: int, status: str) -> None:
    for decode in (decode_infer, lambda answer: decode_answer(model_metadata("recognizer"), answer)):
        with pytest.raises(TransportError) as caught:
            decode(HttpAnswer(code, {}, b'{"error":"Exceeds maximum queue size"}'))
        assert caught.value.status == status
        assert status in grpc.StatusCode.__members__
        assert caught.value.detail.endswith("Exceeds maximum queue size")


def test_message_is_too_large_when_a_proxy_says_so() -> None:
    with pytest.raises(TransportError) as caught:
        decode_infer(HttpAnswer(413, {}, b"<html>a gateway's page</html>"))
    assert read(caught.value).code == "message_too_large"


@pytest.mark.parametrize("page", [b"<html>a gateway's page</html>", b"", b"[]", b'{"detail": 1}'])
def test_refusal_names_its_code_alone_when_no_triton_speaks(page: bytes) -> None:
    with pytest.raises(TransportError) as caught:
        decode_infer(HttpAnswer(502, {}, page))
    assert (caught.value.status, caught.value.detail) == ("UNAVAILABLE", "HTTP 502")


@pytest.mark.parametrize(
    ("question", "code", "body", "answer"),
    [
        (server_live(), 200, b"", {"live": True}),
        (server_live(), 503, b"", {"live": False}),
        (model_ready("recognizer"), 200, b"", {"ready": True}),
        (model_ready("recognizer"), 400, b'{"error":"Model version not ready"}', {"ready": False}),
        (repository_index(), 200, b'[{"name":"recognizer"}]', {"models": [{"name": "recognizer"}]}),
        (model_metadata("recognizer"), 200, b'{"name":"recognizer"}', {"name": "recognizer"}),
        (Question("RepositoryModelLoad", "POST", "/v2/x/load", body={}), 200, b"", {}),
    ],
)
def test_answer_to_a_question_reads_as_over_grpc(
    question: Question, code: int, body: bytes, answer: dict[str, object]
) -> None:
    assert decode_answer(question, HttpAnswer(code, {}, body)) == answer


@pytest.mark.parametrize("code", [401, 403, 500, 502])
def test_health_is_no_answer_when_the_server_would_not_say(code: int) -> None:
    with pytest.raises(TransportError):
        decode_answer(server_live(), HttpAnswer(code, {}, b""))


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"7"])
def test_answer_to_a_question_is_a_failure_when_it_is_no_object(body: bytes) -> None:
    with pytest.raises(TransportError) as caught:
        decode_answer(model_metadata("recognizer"), HttpAnswer(200, {}, body))
    assert caught.value.status == "UNIMPLEMENTED"


def test_question_has_its_body_only_where_it_has_one() -> None:
    assert encode_question(server_live(), {}).body == b""
    assert encode_question(repository_index(), {"A": "b"}).body == b"{}"


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_addresses_are_taken_in_turn() -> None:
    addresses = Addresses(["a", "b", "c"], stay=False)
    assert [addresses.take() for _ in range(6)] == ["a", "b", "c", "a", "b", "c"]


def test_address_is_passed_over_for_a_while_when_it_failed() -> None:
    clock = Clock()
    addresses = Addresses(["a", "b"], stay=False, clock=clock)
    addresses.note_failure(addresses.take())
    assert [addresses.take() for _ in range(3)] == ["b", "b", "b"]
    clock.now_s = COOL_OFF_S
    assert {addresses.take() for _ in range(2)} == {"a", "b"}


def test_address_that_failed_longest_ago_is_taken_when_all_failed() -> None:
    clock = Clock()
    addresses = Addresses(["a", "b"], stay=False, clock=clock)
    for clock.now_s, address in ((1.0, "b"), (1.5, "a")):
        addresses.note_failure(address)
    assert addresses.take() == "b"


def test_address_stays_until_it_fails_when_the_first_is_picked() -> None:
    addresses = Addresses(["a", "b"], stay=True)
    assert [addresses.take() for _ in range(3)] == ["a", "a", "a"]
    addresses.note_failure("a")
    assert [addresses.take() for _ in range(2)] == ["b", "b"]


@pytest.mark.parametrize("value", ["secret\n", "sécret", "sec\x00ret", b"secret"])
def test_header_is_refused_without_repeating_it_when_it_cannot_be_sent(value: object) -> None:
    with pytest.raises(InvalidInput, match="authorization") as caught:
        check_headers({"authorization": value})  # type: ignore[dict-item]
    assert "cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\n"])
def test_header_is_refused_when_its_name_cannot_be_sent(name: str) -> None:
    with pytest.raises(InvalidInput, match="named"):
        check_headers({name: "x"})


@pytest.mark.parametrize(
    ("code", "sentence", "expected"),
    [
        (503, "Server is stopping, scheduler for model has stopped accepting new inference requests", True),
        (404, "Request for unknown model: 'recognizer' has no available versions", True),
        (400, "Request for unknown model: 'recognizer' version 1 is not at ready state", True),
        (503, "Exceeds maximum queue size", False),
        (200, "Server is stopping", False),
    ],
)
def test_server_that_goes_away_is_known_by_its_words(code: int, sentence: str, expected: bool) -> None:
    body = json.dumps({"error": sentence}).encode()
    assert is_leaving(HttpAnswer(code, {}, body)) is expected
