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
    """Sends the bytes as a message; returns the refusal, "" for none."""
    name, _, key = server.memory_key.partition("=")
    with grpc.insecure_channel(server.grpc_target) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/SystemSharedMemoryRegister")
        try:
            call(message, timeout=30, metadata=[(f"triton-grpc-protocol-{name}", key)])
        except grpc.RpcError as error:
            return str(error.details())
    return ""


def registration(key: str) -> bytes:
    request = service_pb2.SystemSharedMemoryRegisterRequest(name="taken", key=key, offset=0, byte_size=64)
    return bytes(request.SerializeToString())


def post(server: LocalServer, body: str) -> tuple[int, str]:
    name, _, key = server.memory_key.partition("=")
    with contextlib.closing(http.client.HTTPConnection(ADDRESS, server.ports.http, timeout=30)) as connection:
        connection.request("POST", "/v2/systemsharedmemory/region/taken/register", body, {name: key})
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
    ):
        assert FOREIGN in register(server, message), message
    assert registered(server) == []


@pytest.mark.parametrize(
    "form", ['{"key":"/%s",%s}', '{ "key" : "%s" , %s}', '{"k\\u0065y":"/%s",%s}', '{"key":"\\/%s",%s}']
)
def test_own_segment_of_the_server_is_refused_over_http(server: LocalServer, segment: str, form: str) -> None:
    status, body = post(server, form % (segment, '"offset":0,"byte_size":64'))
    assert (status, FOREIGN in body) == (http.client.BAD_REQUEST, True), body
    twice = json.dumps({"offset": 0, "byte_size": 64})[:-1] + f', "key": "/triptych_client_aa", "key": "/{segment}"}}'
    assert FOREIGN in post(server, twice)[1]
    assert registered(server) == []


def test_segment_of_a_client_passes(server: LocalServer, tmp_path: Path) -> None:
    mine = Path("/dev/shm/triptych_client_00ff")
    mine.write_bytes(bytes(64))
    try:
        assert register(server, registration(f"/{mine.name}")) == ""
        assert registered(server) == ["taken"]
    finally:
        mine.unlink()
