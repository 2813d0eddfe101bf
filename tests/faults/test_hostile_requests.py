"""Requests that no client makes, over gRPC and HTTP, to the real server: refused, and the server is as it was."""

from __future__ import annotations

import contextlib
import socket
import time
from collections import defaultdict
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from ops.server.local_server import LocalServer
from ops.server.processes import find_stubs
from ops.settings import ADDRESS, Settings
from tests.faults.hostile_requests import call, hostile_calls, hostile_http, packed
from tests.faults.load import Golden
from tests.faults.records import InputRow, keep
from triptych import Client

TIMEOUT_S = 20.0
# Bytes never come: the server waits for them, as it should, and answers others meanwhile.
UNFINISHED = ("no version", "two lengths")
# 2.51.0 reads these as the version 1, as no batch dimension, or does not look: the answer is the photo's.
READ_OTHERWISE = (
    "'01'",
    "'1.0'",
    "' 1'",
    "'BYTES\\x00'",
    "(0, 1)",
    f"({2**62}, 1)",
    f"({-(2**63)}, 1)",
    "more contents than inputs",
)
HERE = "tests/faults/test_hostile_requests.py"


@pytest.fixture(scope="module")
def attacked() -> Iterator[LocalServer]:
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, cache_mb=0)) as server:
        yield server


@pytest.fixture
def golden(attacked: LocalServer, contents: list[bytes]) -> Iterator[Golden]:
    """Asked before, and again after: the server must be as it was, in the same processes."""
    stubs = {stub.pid for stub in find_stubs(attacked.segment_prefix)}
    with Client(attacked.grpc_target) as client:
        golden = Golden(client, contents)
        yield golden
        assert all(golden.is_right(n, client.embed(golden.fresh(n)).vector) for n in range(8))
    assert {stub.pid for stub in find_stubs(attacked.segment_prefix)} == stubs


def count(rows: dict[str, list[str]], against: str, test: str) -> None:
    for kind, fates in rows.items():
        refused, answered = fates.count("REFUSED"), fates.count("ANSWERED")
        crashed = len(fates) - refused - answered
        keep(
            InputRow(f"request: {kind}", against, len(fates), refused, answered, crashed, None, None, f"{HERE}::{test}")
        )


def test_grpc_refuses_each_hostile_request_with_a_sentence(
    attacked: LocalServer, golden: Golden, contents: list[bytes]
) -> None:
    rows: dict[str, list[str]] = defaultdict(list)
    strange: list[tuple[object, ...]] = []
    # A sentence repeats the name it refuses, also one of 10,000 characters; unless told otherwise gRPC drops some
    # trailers between 8 and 16 kB, at random.
    room = [("grpc.max_metadata_size", 2**20), ("grpc.absolute_max_metadata_size", 2**20)]
    options = [("grpc.max_send_message_length", -1), *room]
    with grpc.insecure_channel(attacked.grpc_target, options=options) as channel:
        infer = channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            service_pb2.ModelInferRequest.SerializeToString,
            service_pb2.ModelInferResponse.FromString,
        )
        for case in hostile_calls(contents[0]):
            try:
                answer = infer(case.message, timeout=TIMEOUT_S)
            except grpc.RpcError as error:
                codes = grpc.StatusCode
                refusals = (codes.INVALID_ARGUMENT, codes.NOT_FOUND, codes.RESOURCE_EXHAUSTED)
                is_refused = error.code() in refusals and len(error.details() or "") > 10
                rows[case.kind].append("REFUSED" if is_refused else "CRASHED")
                strange += [] if is_refused else [(case.name, str(error.code()), error.details())]
            else:
                is_right = case.name in READ_OTHERWISE and _is_answer(answer, golden)
                rows[case.kind].append("ANSWERED" if is_right else "CRASHED")
                strange += [] if is_right else [(case.name, "answered", "")]
        count(rows, "server, gRPC", "test_grpc_refuses_each_hostile_request_with_a_sentence")
        assert strange == []
        assert sum(map(len, rows.values())) > 150
        assert _is_answer(infer(call(raw=packed(golden.fresh(0))), timeout=TIMEOUT_S), golden)


def _is_answer(answer: service_pb2.ModelInferResponse, golden: Golden) -> bool:
    (at,) = [at for at, output in enumerate(answer.outputs) if output.name == "embedding"]
    return golden.is_right(0, np.frombuffer(answer.raw_output_contents[at], np.float32))


def test_http_refuses_each_hostile_request(attacked: LocalServer, golden: Golden, contents: list[bytes]) -> None:
    """With a status of the caller's fault: by the front, by Triton or by a model."""
    rows: dict[str, list[str]] = defaultdict(list)
    strange: list[tuple[object, ...]] = []
    for case in hostile_http(contents[0]):
        said = exchange(attacked.ports.http, case.as_bytes(), 1.0 if case.name in UNFINISHED else TIMEOUT_S)
        status = said.partition(b"\r\n")[0]
        is_callers_fault = status[9:10] == b"4" or status[9:12] == b"501"
        # Where what came is no HTTP the connection is closed.
        is_refused = said == b"closed" or is_callers_fault
        is_refused |= said == b"waits" and case.name in UNFINISHED
        rows[case.kind].append("REFUSED" if is_refused else "CRASHED")
        strange += [] if is_refused else [(case.name, said[:200])]
    count(rows, "server, HTTP", "test_http_refuses_each_hostile_request")
    assert strange == []
    assert sum(map(len, rows.values())) > 150


def exchange(port: int, sent: bytes, timeout_s: float) -> bytes:
    """What the server says until it closes; b"closed" for nothing, b"waits" when it still waits then."""
    said = b""
    deadline_s = time.monotonic() + timeout_s
    with socket.create_connection((ADDRESS, port), timeout=timeout_s) as connection:
        try:
            with contextlib.suppress(ConnectionError):
                connection.sendall(sent)
            while time.monotonic() < deadline_s:
                part = connection.recv(65_536)
                if not part:
                    break
                said += part
        except TimeoutError:
            return said or b"waits"
        except ConnectionError:
            pass
    return said or b"closed"
