"""Asked for the classes of a text output, Triton 2.51.0 divides by zero (CVE-2025-23321); only scores have classes."""

from __future__ import annotations

import contextlib
import http.client
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from ops.server.local_server import LocalServer
from ops.settings import ADDRESS
from tests.security.beside import Stage
from tests.security.searches import Caller, embeddings, message, one_text, texts

HERE = "tests/security/test_classification.py"
ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [
    text_format.Parse(file.read_text(encoding="utf-8"), ModelConfig())
    for file in sorted(ROOT.glob("model_repository/models/*/config.pbtxt"))
]
OUTPUTS = [(config.name, output.name) for config in CONFIGS for output in config.output]
TEXT = [name for config in CONFIGS for name in config.output if name.data_type == 13]
OTHERS = [(model, output) for model, output in OUTPUTS if not output.endswith("_scores")]
REFUSED = "classification is for outputs whose names end with _scores"
COUNTS = (1, 2, 0, -1, 1001, 2**31, 2**32, 2**63 - 1)


@pytest.fixture
def photo(photos: list[Path]) -> bytes:
    return photos[0].read_bytes()


def post(server: LocalServer, model: str, body: str) -> tuple[int, str]:
    with contextlib.closing(http.client.HTTPConnection(ADDRESS, server.ports.http, timeout=60)) as connection:
        connection.request("POST", f"/v2/models/{model}/infer", body)
        response = connection.getresponse()
        return response.status, response.read().decode()


def request(model: str, photo: bytes) -> Any:
    """A request that the model answers, but for the steps that take pixels and features."""
    tensors = {"index": embeddings(), "catalogue": one_text("request", b'{"call": "info"}')}
    return message(model, [tensors.get(model, texts("image", photo))])


def asked(model: str, output: str, photo: bytes, **value: Any) -> Any:
    made = request(model, photo)
    parameter = made.outputs.add(name=output).parameters["classification"]
    for field, content in value.items():
        setattr(parameter, field, content)
    return made


def test_no_output_of_scores_is_text() -> None:
    assert len(TEXT) > 5
    assert [output.name for output in TEXT if output.name.endswith("_scores")] == []
    assert [name for _, name in OUTPUTS if name.endswith("_scores")]


@pytest.mark.parametrize(("model", "output"), OTHERS)
def test_output_without_classes_over_grpc(
    attacked: LocalServer, stage: Stage, photo: bytes, model: str, output: str
) -> None:
    caller = Caller(attacked.grpc_target)
    values: list[dict[str, Any]] = [{"int64_param": count} for count in COUNTS]
    values += [{"string_param": "1"}, {"uint64_param": 1}, {"double_param": 1.0}, {"bool_param": True}, {}]
    with stage.attack(f"classes of {model}.{output} over gRPC", f"{HERE}::test_output_without") as seen:
        answers = {caller.ask(asked(model, output, photo, **value)) for value in values}
        ((status, seen.answer),) = answers
    assert (status, REFUSED in seen.answer) == ("INVALID_ARGUMENT", True)


@pytest.mark.parametrize(("model", "output"), OTHERS)
def test_output_without_classes_over_http(attacked: LocalServer, stage: Stage, model: str, output: str) -> None:
    inputs = '"inputs":[{"name":"image","shape":[1,1],"datatype":"BYTES","data":["x"]}]'
    values = [*map(str, COUNTS), "9" * 300, '"1"', "true", "null", "1.0", "[1]", '{"a":1}']
    with stage.attack(f"classes of {model}.{output} over HTTP", f"{HERE}::test_output_without") as seen:
        for value in values:
            body = f'{{{inputs},"outputs":[{{"name":"{output}","parameters":{{"classification":{value}}}}}]}}'
            status, seen.answer = post(attacked, model, body)
            assert (status, REFUSED in seen.answer) == (http.client.BAD_REQUEST, True), value


@pytest.mark.parametrize(
    "output",
    [
        '"name":"label","parameters":{"classific\\u0061tion":1}',
        '"name":"label","parameters" : { "x":"}", "classification" \n:\t1}',
        '"name":"label","parameters":{"classification":0,"classification":1}',
        '"parameters":{"classification":1},"name":"label"',
        '"parameters":{},"parameters":{"classification":1},"name":"label"',
        '"name":"a_scores","name":"label","parameters":{"classification":1}',
        '"name":"label","name":"a_scores","parameters":{"classification":1}',
        '"n\\u0061me":"a_scores","name":"label","parameters":{"classification":1}',
        '"name":"label\\u0000_scores","parameters":{"classification":1}',
        '"name":"label","parameters":{"name":"a_scores","classification":1}',
        '"name":"label","parameters":{"a":{"name":"a_scores"},"classification":1}',
        '"name":"label","x":[{"name":"a_scores"}],"parameters":{"classification":1}',
        '"parameters":{"classification":1}',
    ],
)
def test_classes_asked_for_in_another_spelling_over_http(attacked: LocalServer, photo: bytes, output: str) -> None:
    inputs = json.dumps({"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": ["x"]})
    status, text = post(attacked, "explainer", f'{{"inputs":[{inputs}],"outputs":[{{{output}}}]}}')
    assert status == http.client.BAD_REQUEST
    assert REFUSED in text or "is written with a backslash" in text, text
    assert Caller(attacked.grpc_target).ask(request("recognizer", photo)) == ("OK", "")


def field(number: int, content: bytes, more: int = 0) -> bytes:
    """One field of bytes; `more` is added to its tag, of which readers take 32 bits."""
    return varint(more + (number << 3 | 2)) + varint(len(content)) + content


def varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


ONE = field(2, b"\x10\x01")
ASKS = field(2, field(1, b"classification") + ONE)


@pytest.mark.parametrize(
    "outputs",
    [
        field(6, field(1, b"label") + ASKS),
        field(6, ASKS + field(1, b"label")),
        field(6, field(1, b"label") + ASKS, more=1 << 32),
        field(6, field(1, b"label") + field(2, field(1, b"classification") + ONE, more=1 << 32)),
        field(6, field(1, b"a_scores") + field(1, b"label") + ASKS),
        field(6, field(1, b"label") + field(1, b"a_scores") + ASKS),
        field(6, field(1, b"label\0_scores") + ASKS),
        field(6, field(1, b"label") + field(2, field(1, b"a") + field(1, b"classification") + ONE)),
        field(6, field(1, b"label") + field(2, ONE + field(1, b"classification"))),
        field(6, ASKS),
    ],
)
def test_classes_asked_for_in_another_spelling_over_grpc(attacked: LocalServer, photo: bytes, outputs: bytes) -> None:
    caller = Caller(attacked.grpc_target)
    call = caller.channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    refused = call.future(request("explainer", photo).SerializeToString() + outputs, timeout=60).exception()
    assert refused is not None
    assert refused.code().name == "INVALID_ARGUMENT"
    assert refused.details().startswith("[request_invalid] ")
    assert caller.ask(request("recognizer", photo)) == ("OK", "")


def test_classes_of_scores_are_answered(attacked: LocalServer, photo: bytes) -> None:
    """However many are asked for, of several photos, too; the server lives on."""
    caller = Caller(attacked.grpc_target)
    two = message("recognizer", [texts("image", photo, photo)])
    two.outputs.add(name="category_scores").parameters["classification"].int64_param = 3
    assert caller.ask(two) == ("OK", "")
    answers = {count: caller.ask(asked("recognizer", "category_scores", photo, int64_param=count)) for count in COUNTS}
    assert {answers[count][0] for count in (1, 2, 1001)} == {"OK"}
    assert {status for status, _ in answers.values()} == {"OK", "INVALID_ARGUMENT"}
    assert caller.ask(asked("recognizer", "category_scores", photo, string_param="1"))[0] == "INVALID_ARGUMENT"
