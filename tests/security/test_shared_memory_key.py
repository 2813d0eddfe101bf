"""Who has the key of shared memory registers segments that a client created, and none of the server's own."""

from __future__ import annotations

import contextlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from ops.server.local_server import LocalServer
from ops.settings import ADDRESS, Settings

OWN = "triptych_client_" + "00ff" * 8
FOREIGN = "only a segment that the client has created"


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server:
        yield server


@pytest.fixture
def segment(server: LocalServer) -> str:
    """Name of a segment of the server's Python backend."""
    return next(Path("/dev/shm").glob(f"{server.segment_prefix}*")).name


def register(server: LocalServer, message: bytes) -> str:
    """Sends the bytes as a message; returns the refusal, which blames the caller, "" for none."""
    name, _, key = server.memory_key.partition("=")
    with grpc.insecure_channel(server.grpc_target) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/SystemSharedMemoryRegister")
        error = call.future(message, timeout=30, metadata=[(f"triton-grpc-protocol-{name}", key)]).exception()
    if error is None:
        return ""
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    return str(error.details())


def registration(key: str, name: str = OWN, offset: int = 0, byte_size: int = 64) -> bytes:
    request = service_pb2.SystemSharedMemoryRegisterRequest(name=name, key=key, offset=offset, byte_size=byte_size)
    return bytes(request.SerializeToString())


def post(server: LocalServer, body: str, region: str = OWN, **headers: str) -> tuple[int, str]:
    name, _, key = server.memory_key.partition("=")
    with contextlib.closing(http.client.HTTPConnection(ADDRESS, server.ports.http, timeout=30)) as connection:
        path = f"/v2/systemsharedmemory/region/{region}/register"
        connection.request("POST", path, body, {name: key, **headers})
        response = connection.getresponse()
        return response.status, response.read().decode()


def registered(server: LocalServer) -> list[str]:
    name, _, key = server.memory_key.partition("=")
    with grpc.insecure_channel(server.grpc_target) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.SystemSharedMemoryStatusRequest()
        status = stub.SystemSharedMemoryStatus(request, timeout=30, metadata=[(f"triton-grpc-protocol-{name}", key)])
        return list(status.regions)


def test_own_segment_of_the_server_is_refused_over_grpc(server: LocalServer, segment: str) -> None:
    own = "triptych_client_" + "a" * 32
    for message in (
        registration(f"/{segment}"),
        registration(segment),
        registration(f"/{own}/../{segment}"),
        registration(f"{own}\x00"),
        registration(f"/{own}") + registration(f"/{segment}"),  # the last of two values is the one that counts
        registration(f"/{segment}") + registration(f"/{own}"),
        b"\x12" + registration(f"/{segment}"),
        registration("/triptych_client_00ff"),
    ):
        assert FOREIGN in register(server, message), message
    assert registered(server) == []


@pytest.mark.parametrize(
    "form", ['{"key":"/%s",%s}', '{ "key" : "%s" , %s}', '{"k\\u0065y":"/%s",%s}', '{"key":"\\/%s",%s}']
)
def test_own_segment_of_the_server_is_refused_over_http(server: LocalServer, segment: str, form: str) -> None:
    status, body = post(server, form % (segment, '"offset":0,"byte_size":64'))
    assert (status, FOREIGN in body or "with a backslash" in body) == (http.client.BAD_REQUEST, True), body
    twice = json.dumps({"offset": 0, "byte_size": 64})[:-1] + f', "key": "/triptych_client_aa", "key": "/{segment}"}}'
    assert FOREIGN in post(server, twice)[1]
    assert registered(server) == []


def test_length_of_the_json_hides_no_segment(server: LocalServer, segment: str) -> None:
    body = json.dumps({"key": f"/{segment}", "offset": 0, "byte_size": 64})
    status, text = post(server, body, **{"Inference-Header-Content-Length": "0"})
    assert (status, FOREIGN in text) == (http.client.BAD_REQUEST, True), text
    assert registered(server) == []


@contextlib.contextmanager
def made_segment(content: bytes) -> Iterator[Path]:
    mine = Path("/dev/shm") / OWN
    mine.write_bytes(content)
    try:
        yield mine
    finally:
        mine.unlink()


def test_region_has_a_name_that_nobody_guesses(server: LocalServer) -> None:
    """Whoever knows the name of a region may use it in an inference without the key."""
    with made_segment(bytes(64)):
        for name in ("mine", "triptych_client_00ff", f"{OWN}x", ""):
            assert register(server, registration(f"/{OWN}", name)) != ""
            body = json.dumps({"key": f"/{OWN}", "offset": 0, "byte_size": 64})
            assert post(server, body, name or "%00")[0] in (http.client.BAD_REQUEST, http.client.NOT_FOUND), name
    assert registered(server) == []


@pytest.mark.parametrize(("offset", "byte_size"), [(0, 4096), (4096, 64), (2**63, 64), (0, 2**63), (1, 64)])
def test_region_beyond_its_segment_is_the_callers_fault(server: LocalServer, offset: int, byte_size: int) -> None:
    with made_segment(bytes(64)):
        status, text = post(server, json.dumps({"key": f"/{OWN}", "offset": offset, "byte_size": byte_size}))
        assert status == http.client.BAD_REQUEST, text
        assert register(server, registration(f"/{OWN}", offset=offset, byte_size=byte_size)) != ""
    missing, text = post(server, json.dumps({"key": f"/{OWN}", "offset": 0, "byte_size": 64}))
    assert (missing, "[request_invalid]" in text) == (http.client.BAD_REQUEST, True), text
    assert "Unable to open shared memory region" in register(server, registration(f"/{OWN}"))
    assert registered(server) == []


def test_segment_of_a_client_passes(server: LocalServer) -> None:
    with made_segment(bytes(64)) as mine:
        assert register(server, registration(f"/{mine.name}")) == ""
        assert registered(server) == [OWN]
