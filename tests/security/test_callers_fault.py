"""The caller's fault is INVALID_ARGUMENT with a short sentence, whatever a caller sends to whatever model.

It is never INTERNAL, never a 500, and no counter of the server's faults moves. Sentences name nothing of the server.
"""

from __future__ import annotations

import http.client
import json
import math
import re
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.server.local_server import LocalServer
from ops.settings import ADDRESS, Settings
from tests.security.searches import DIMENSION, Caller, Tensor, embeddings, fill, message, one_text, texts, whole

EXAMPLES = 400
MAX_TEXT_BYTES = 2_500
# Files, traces, types and segments of the server.
PRIVATE = re.compile(
    r"Traceback|\.py\b|Error:|Exception|/work/|/tmp/|/dev/shm|<class|NoneType|ndarray|sqlite|shm|triptych_\d"
)

LONG = "x" * 20_000
RAW_JSON = (
    b"",
    b"[]",
    b"5",
    b"null",
    b"{",
    b'{"a": 1e999}',
    b'{"a": NaN}',
    b'{"a": -Infinity}',
    b'{"a": 1000000000000000000000000000000}',
    b'{"a": ' + b"9" * 5_000 + b"}",
    b'{"a": "\\ud800"}',
    b'{"a": "\xed\xa0\x80"}',
    b'{"a": "\xff"}',
    b'{"\xff": 1}',
    b'{"a": "\x00"}',
    b'{"a": ' * 3_000,
    b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}",
    f'{{"{LONG}": 1}}'.encode(),
    ('{"' + "\U0001f45f" * 20_000 + '": 1}').encode(),
    '{"a": 1}'.encode("utf-16"),
)
IDS = (b"\xff", b"\xed\xa0\x80", b"", b"\x00", b"a\x00b", LONG.encode(), ("\U0001f45f" * 9_000).encode())
# Places in the JSON of a request, with a mark where a value goes.
QUERIES = (
    '{"filter": @}',
    '{"filter": {"n": @}}',
    '{"filter": {"n": [@]}}',
    '{"filter": {"n": {"gte": @}}}',
    '{"filter": {"n": {"exists": @}}}',
    '{"filter": {@: 1}}',
    '{"filter": {"n": {@: 1}}}',
    '{"min_similarity": @}',
    '{"exact": @}',
    '{"group_by_product": @}',
    '{"narrow": @}',
    '{"narrow": {"field": @}}',
    '{"narrow": {"field": "category", "predicted": @}}',
    '{"narrow": {"field": "category", "predicted": {"c1": @}}}',
    "{@: 1}",
    "@",
)
TASTES = (
    '{"weights": @}',
    '{"weights": {"p1": @}}',
    '{"weights": {@: 1}}',
    '{"weights": {"p1": 1e-300, "p2": @}}',
    '{"weights": {"p1": 1}, "interests": @}',
    '{"weights": {"p1": 1}, "apart": @}',
    '{"weights": {"p1": 1}, "diversity": @}',
    '{"weights": {"p1": 1}, "without": @}',
    '{"weights": {"p1": 1}, "without": [@]}',
    '{"weights": {"p1": 1}, @: 1}',
)
CALLS = (
    '{"call": @}',
    '{"call": "get", "product_id": @}',
    '{"call": "count", "filter": @}',
    '{"call": "count", "filter": {"n": @}}',
    '{"call": "export", "after": @, "limit": 1}',
    '{"call": "export", "limit": @, "after": 1999}',
    '{"call": "export", "limit": 1, "embeddings": @}',
    '{"call": "duplicates", "threshold": @}',
    '{"call": "duplicates", "limit": @}',
    '{"call": "delete", "product_ids": @}',
    '{"call": "delete", "product_ids": [@]}',
    '{"call": "upsert", "items": @}',
    '{"call": "upsert", "items": [@]}',
    '{"call": "upsert", "items": [{"product_id": @}]}',
    '{"call": "upsert", "items": [{"product_id": "f", "photo_id": @}]}',
    '{"call": "upsert", "items": [{"product_id": "f", "fields": @}]}',
    '{"call": "upsert", "items": [{"product_id": "f", "fields": {"a": @}}]}',
    '{"call": "upsert", "items": [{"product_id": "f", "fields": {@: 1}}]}',
    '{"call": "upsert", "items": [{"product_id": "f", "image_digest": @}]}',
    '{"call": "upsert", "items": [{"product_id": "f", "fingerprint": @}]}',
    '{"call": "info", @: 1}',
    '{"call": "activate", "a": @}',
    "@",
)
ODD = (
    "1e999", "-1e999", "NaN", "Infinity", "1" + "0" * 30, "-9223372036854775809", "9223372036854775807", "1e308",
    "1e-320", "-0.0", "0", "1.5", "-1", "true", "null", "[]", "{}", '""', '"\\ud800"', '"\\u0000"', f'"{LONG}"',
    '"\\ud83d\\udc5f"', '[[["a"]]]', '{"a": {"b": []}}', "[" * 500, "9" * 5_000, '"\udcff"', '"n"', '"p1"',
)  # fmt: skip

json_values = st.sampled_from(ODD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
).map(json.dumps)


@st.composite
def odd_json(draw: st.DrawFn, places: tuple[str, ...]) -> bytes:
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(RAW_JSON))
    text = draw(st.sampled_from(places)).replace("@", draw(json_values))
    return text.encode("utf-8", "surrogateescape")  # a surrogate of ODD becomes a byte that is not UTF-8


@st.composite
def odd_embedding(draw: st.DrawFn) -> Tensor:
    shape = draw(st.sampled_from([(1, DIMENSION), (1, 3), (1, 0), (0, DIMENSION), (9, DIMENSION), (DIMENSION,), ()]))
    value = draw(st.sampled_from([0.0, math.nan, math.inf, 3e38, 1e-40, -1.0]))
    # The right size for the shape: a wrong one is Triton's to refuse (tests/faults/test_hostile_requests.py).
    return "embedding", "FP32", shape, np.full(shape, value, "<f4").tobytes()


@st.composite
def odd_request(draw: st.DrawFn, photo: bytes, key: str) -> Any:
    """A request to any model that callers name, with one kind of fault at least as a rule."""
    kind = draw(
        st.sampled_from(["query", "taste", "id", "k", "embedding", "call", "upsert", "photo", "explain", "features"])
    )
    image = texts("image", photo)
    parameters: dict[str, Any] = {}
    if kind == "query":
        tensors, model = [texts("query", draw(odd_json(QUERIES)))], draw(st.sampled_from(["index", "searcher"]))
        tensors.append(embeddings() if model == "index" else image)
    elif kind == "taste":
        tensors, model = [texts("taste", draw(odd_json(TASTES)))], "index"
    elif kind == "id":
        tensors, model = [texts("product_id", draw(st.sampled_from(IDS) | st.binary(max_size=8)))], "index"
    elif kind == "k":
        tensors, model = [whole("k", draw(st.sampled_from([0, -1, 1001, 2**31 - 1, -(2**31), 5])))], "index"
        tensors.append(embeddings())
    elif kind == "embedding":
        tensors, model = [draw(odd_embedding())], "index"
    elif kind == "photo":
        content = draw(st.sampled_from([b"", b"\xff\xd8", photo[:500], LONG.encode()]) | st.binary(max_size=50))
        tensors, model = [texts("image", content)], draw(st.sampled_from(["recognizer", "searcher", "preprocess"]))
    elif kind == "explain":
        tensors = [image, texts("attribute", draw(st.sampled_from(IDS)))]
        if draw(st.booleans()):
            tensors[1] = whole("class_index", draw(st.sampled_from([-1, 10**6, -(2**31), 0])))
        model = "explainer"
    elif kind == "features":
        _, datatype, shape, content = draw(odd_embedding())
        tensors, model = [("features", datatype, shape, content)], "classifier"
    else:
        model, tensors = "catalogue", [one_text("request", draw(odd_json(CALLS)))]
        if kind == "upsert":
            tensors.append(draw(odd_embedding() | st.just(embeddings())))
        parameters = {"catalogue_key": draw(st.sampled_from([key, key, key, key, 5, True, 1.5, LONG, "", math.nan]))}
    if draw(st.integers(0, 5)) == 0:
        parameters[draw(st.sampled_from(["a", "é", LONG, "timeout", "priority"]))] = draw(
            st.sampled_from([-1, 10**18, math.inf, True, LONG, "\x00"])
        )
    return message(model, tensors, parameters, draw(st.sampled_from(["", "é", "i\x00j", LONG])))


@pytest.fixture(scope="module")
def served() -> Iterator[LocalServer]:
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server:
        yield server


@pytest.fixture(scope="module")
def key(served: LocalServer) -> str:
    return fill(served, Caller(served.grpc_target))


@pytest.fixture
def photo(photos: list[Any]) -> bytes:
    content: bytes = photos[0].read_bytes()
    return content


def servers_faults(server: LocalServer) -> dict[str, float]:
    """Counters that the availability objective reads as the server's faults."""
    with urllib.request.urlopen(f"http://{ADDRESS}:{server.ports.metrics}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    kinds = ('reason="BACKEND"', 'reason="REJECTED"', 'code="internal"', 'code="catalogue_unusable"')
    counted = ("nv_inference_request_failure", "triptych_refusals_total")
    faults = {
        line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith(counted) and any(kind in line for kind in kinds)
    }
    assert faults
    return faults


def test_whatever_callers_send_is_answered_or_their_fault(served: LocalServer, key: str, photo: bytes) -> None:
    caller, before = Caller(served.grpc_target), servers_faults(served)
    seen = {"OK": 0, "INVALID_ARGUMENT": 0}

    @settings(
        max_examples=EXAMPLES, deadline=None, database=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(request=odd_request(photo, key))
    def turn(request: Any) -> None:
        status, text = caller.ask(request)
        assert status in seen, (status, text, request)
        assert len(text.encode()) < MAX_TEXT_BYTES, (len(text), request)
        assert not PRIVATE.search(text), text
        seen[status] += 1

    turn()
    assert seen["INVALID_ARGUMENT"] > EXAMPLES // 2
    assert seen["OK"] > 10
    assert servers_faults(served) == before


SERVICE = "/inference.GRPCInferenceService/"
KEYLESS = [
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelConfig",
    "ModelStatistics",
]
CONTROL = ["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload", "TraceSetting", "LogSettings"]
MEMORY = ["SystemSharedMemoryStatus", "SystemSharedMemoryRegister"]
UNREADABLE = (
    b"\xff\xff\xff",
    b"\x00\x00",
    b"\x0a\x02\xff\xfe",
    b"\x0a\x05a",
    b"\x4b\x4c",
    b"\x0a\x0arecognizer\x1a\x02\xff\xfe",
)


def send_raw(served: LocalServer, path: str, body: bytes) -> tuple[str, str]:
    call = Caller(served.grpc_target).channel.unary_unary(path)
    error = call.future(body, timeout=30).exception()
    return ("OK", "") if error is None else (error.code().name, error.details())


@pytest.mark.parametrize("method", [*KEYLESS, *CONTROL, *MEMORY, "ModelInfer"])
def test_message_that_nobody_can_read_is_the_callers_fault(served: LocalServer, method: str) -> None:
    """Triton and its gRPC call it INTERNAL: text that is no UTF-8, field 0, groups, bytes that end too early."""
    answers = [send_raw(served, SERVICE + method, body) for body in UNREADABLE]
    allowed = {"OK", "INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED"}
    assert {status for status, _ in answers} <= allowed, answers
    status, text = answers[0]
    assert (status, "[request_invalid] " in text) == ("INVALID_ARGUMENT", True)


def test_health_of_nonsense_is_the_callers_fault(served: LocalServer) -> None:
    assert send_raw(served, "/grpc.health.v1.Health/Check", UNREADABLE[0])[0] == "INVALID_ARGUMENT"


@pytest.mark.parametrize("value", [b"\xff", b"\xed\xa0\x80"])
def test_text_of_a_parameter_that_is_no_utf8_is_the_callers_fault(served: LocalServer, value: bytes) -> None:
    parameter = b"\x0a\x06source\x12" + bytes([len(value) + 2]) + b"\x1a" + bytes([len(value)]) + value
    body = b"\x0a\x0arecognizer" + b"\x22" + bytes([len(parameter)]) + parameter
    status, text = send_raw(served, f"{SERVICE}ModelInfer", body)
    assert (status, "no UTF-8" in text) == ("INVALID_ARGUMENT", True), text


def test_missing_key_is_permission_denied(served: LocalServer) -> None:
    """Triton itself says UNAVAILABLE, which callers would repeat."""
    for method in [*CONTROL, MEMORY[0]]:
        status, text = send_raw(served, SERVICE + method, b"")
        assert (status, "This protocol is restricted" in text) == ("PERMISSION_DENIED", True), method


@pytest.mark.parametrize("where", ["key", "query", "field", "operator", "id", "call", "taste", "attribute"])
def test_value_of_20_kb_is_quoted_in_200_characters(served: LocalServer, key: str, photo: bytes, where: str) -> None:
    long = LONG.encode()
    request = {
        "key": lambda: message("catalogue", [one_text("request", b'{"call": "count"}')], {"catalogue_key": LONG}),
        "query": lambda: message("index", [embeddings(), texts("query", b'{"%s": 1}' % long)]),
        "field": lambda: message("index", [embeddings(), texts("query", b'{"filter": {"%s": 1}}' % long)]),
        "operator": lambda: message("index", [embeddings(), texts("query", b'{"filter": {"n": {"%s": 1}}}' % long)]),
        "id": lambda: message("index", [texts("product_id", long)]),
        "call": lambda: message("catalogue", [one_text("request", b'{"call": "%s"}' % long)], {"catalogue_key": key}),
        "taste": lambda: message("index", [texts("taste", b'{"weights": {"%s": 0}}' % long)]),
        "attribute": lambda: message("explainer", [texts("image", photo), texts("attribute", long)]),
    }[where]()
    status, text = Caller(served.grpc_target).ask(request)
    assert status == "INVALID_ARGUMENT"
    assert re.search(r"\[[a-z_]+\] ", text)
    assert "x" * 201 not in text


@pytest.mark.parametrize(
    ("model", "body"),
    [
        ("index", {"name": "product_id", "shape": [1, 1], "datatype": "BYTES", "data": [LONG]}),
        ("index", {"name": "k", "shape": [1, 1], "datatype": "INT32", "data": [5]}),
        ("index", {"name": "taste", "shape": [1, 1], "datatype": "BYTES", "data": ['{"weights": {"a": 1e999}}']}),
        ("recognizer", {"name": "image", "shape": [1, 1], "datatype": "BYTES", "data": ["not a photo"]}),
        ("catalogue", {"name": "request", "shape": [1], "datatype": "BYTES", "data": ['{"call": "count"}']}),
    ],
)
@pytest.mark.parametrize(
    "parameters", [{}, {"catalogue_key": 5}, {"catalogue_key": 10**30}, {"catalogue_key": None}, [1]]
)
def test_callers_fault_is_400_over_http(served: LocalServer, model: str, body: dict[str, Any], parameters: Any) -> None:
    with closing(http.client.HTTPConnection(ADDRESS, served.ports.http, timeout=30)) as connection:
        sent = json.dumps({"inputs": [body], "parameters": parameters})
        connection.request("POST", f"/v2/models/{model}/infer", sent)
        answer = connection.getresponse()
        text = answer.read().decode()
    assert answer.status == 400, text
    assert len(text) < MAX_TEXT_BYTES
    assert not PRIVATE.search(text)
