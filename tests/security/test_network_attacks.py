"""What strangers send to end the server or to fill its memory: refused at the front, at no cost for other callers."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import socket
import zlib
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from ops.server.local_server import LocalServer
from ops.settings import ADDRESS
from tests.security.beside import Stage, processes_of
from triptych import Client

INFER = "/v2/models/recognizer/infer"
HERE = "tests/security/test_network_attacks.py"
UNLIMITED = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
MIB = 2**20
ZEROS = bytes(MIB)


def post(server: LocalServer, body: bytes, headers: dict[str, str] | None = None, path: str = INFER) -> tuple[int, str]:
    """Status and body; the front may answer, and close, before it has read everything."""
    with contextlib.closing(http.client.HTTPConnection(ADDRESS, server.ports.http, timeout=60)) as connection:
        with contextlib.suppress(ConnectionError):
            connection.request("POST", path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")


def infer_raw(server: LocalServer, message: bytes, **more: object) -> grpc.RpcError | bytes:
    """Sends the bytes as they are; returns the answer, or the refusal."""
    with grpc.insecure_channel(server.grpc_target, options=UNLIMITED) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        try:
            answer: bytes = call(message, timeout=60, **more)
        except grpc.RpcError as error:
            return error
        return answer


def whole_numbers(inputs: int, bytes_each: int) -> bytes:
    """A request with zeros of one byte each, packed; a reader takes eight bytes for each."""
    message = service_pb2.ModelInferRequest(model_name="recognizer")
    for number in range(inputs):
        message.inputs.add(name=f"a{number}", datatype="INT64").contents.int64_contents.extend([0] * bytes_each)
    content: bytes = message.SerializeToString()
    return content


def said(refusal: grpc.RpcError | bytes) -> str:
    assert isinstance(refusal, grpc.RpcError)
    return f"{refusal.code().name} {refusal.details()}"


def test_600_000_chunks_of_one_byte(attacked: LocalServer, stage: Stage) -> None:
    head = (
        f"POST {INFER} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nInference-Header-Content-Length: 0\r\n\r\n"
    )
    with (
        stage.attack("600,000 chunks of a byte", f"{HERE}::test_600_000") as seen,
        socket.create_connection((ADDRESS, attacked.ports.http), timeout=60) as connection,
    ):
        connection.sendall(head.encode())
        for _ in range(600):
            connection.sendall(b"1\r\nx\r\n" * 1000)
        connection.sendall(b"0\r\n\r\n")
        seen.answer = connection.recv(500).decode().partition("\r\n")[0]
    assert seen.answer == "HTTP/1.1 400 Bad Request"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP", "gzip, identity", "x-gzip", "br"])
def test_compressed_body_over_http(attacked: LocalServer, stage: Stage, encoding: str) -> None:
    bomb = gzip.compress(ZEROS * 200) if "zip" in encoding.lower() else zlib.compress(ZEROS * 200)
    headers = {"Content-Encoding": encoding, "Inference-Header-Content-Length": "0"}
    with stage.attack(f"200 MB as {encoding}", f"{HERE}::test_compressed") as seen:
        for _ in range(3):
            status, body = post(attacked, bomb, headers)
            seen.answer = f"{status} {json.loads(body)['error'][:40]}"
    assert status == http.client.UNSUPPORTED_MEDIA_TYPE
    assert "compressed bodies are refused" in body


def test_compressed_message_over_grpc(attacked: LocalServer, stage: Stage) -> None:
    with stage.attack("100 MB as gzip over gRPC", f"{HERE}::test_compressed_message") as seen:
        for _ in range(3):
            seen.answer = said(
                infer_raw(attacked, b"\x3a" + b"\x80\x80\x80\x32" + ZEROS * 100, compression=grpc.Compression.Gzip)
            )
    assert seen.answer == "INVALID_ARGUMENT [request_invalid] the body is not one message of gRPC without compression"


@pytest.mark.parametrize(
    ("attack", "body"),
    [
        ("JSON, 200,000 brackets deep", "[" * 200_000),
        ("JSON, 33 deep behind strings", '{"a[":"\\"[' + "[" * 99 + '","b":' + "[" * 33),
        ("JSON, 10,000,000 numbers", '{"inputs":[' + "0," * 10_000_000 + "0]}"),
        ("JSON, 5,000,000 objects", '{"inputs":[' + "{}," * 5_000_000 + "{}]}"),
        ("JSON, 5,000,000 escapes", '{"inputs":"' + "\\\\" * 5_000_000 + '"}'),
    ],
)
def test_json_that_costs_more_than_its_bytes(attacked: LocalServer, stage: Stage, attack: str, body: str) -> None:
    with stage.attack(attack, f"{HERE}::test_json") as seen:
        status, seen.answer = post(attacked, body.encode())
    assert (status, "nested deeper than 32" in seen.answer) == (400, True), seen.answer


@pytest.mark.parametrize("length", ["2e5", "200000e-5", "0x7fffffff", "-1", "1,200000", "200000 "])
def test_a_lying_length_of_the_json_hides_no_depth(attacked: LocalServer, length: str) -> None:
    status, body = post(attacked, b"[" * 200_000, {"Inference-Header-Content-Length": length})
    assert status == http.client.BAD_REQUEST, body
    with Client(attacked.grpc_target) as client:
        assert client.health().ready


@pytest.mark.parametrize("call", ["generate", "generate_stream", "versions/1/generate", "config", "stats", "ready"])
def test_length_of_the_json_is_believed_of_inferences_only(attacked: LocalServer, stage: Stage, call: str) -> None:
    """Triton reads the JSON of other calls as a whole, whatever the length says; 300,000 brackets end it."""
    with stage.attack(f"300,000 brackets behind a length of 0, {call}", f"{HERE}::test_length_of_the_json") as seen:
        path = f"/v2/models/recognizer/{call}"
        status, seen.answer = post(attacked, b"[" * 300_000, {"Inference-Header-Content-Length": "0"}, path)
    assert (status, "nested deeper than 32" in seen.answer) == (http.client.BAD_REQUEST, True), seen.answer


def test_headers_longer_than_the_server_reads(attacked: LocalServer, stage: Stage) -> None:
    """Triton closes its connection on more than 8 kB of them."""
    paths = [f"{INFER}?{'a' * 7_200}", f"/v2/models/{'a' * 7_200}/infer"]
    with stage.attack("headers of 7 to 33 kB", f"{HERE}::test_headers_longer") as seen:
        answers = [post(attacked, b"{}", {"X-Long": "a" * size}) for size in (7_200, 8_000, 9_000, 20_000, 33_000)]
        answers += [post(attacked, b"{}", path=path) for path in paths]
        longest, _ = post(attacked, b"{}", {"X-Long": "a" * 6_800})
        seen.answer = f"{answers[0][0]}"
    assert {status for status, _ in answers} == {http.client.REQUEST_HEADER_FIELDS_TOO_LARGE}
    assert json.loads(answers[0][1])["error"].startswith("[request_invalid] the path and the headers exceed 7 kB")
    assert longest == http.client.BAD_REQUEST, "the server itself read it"


@pytest.mark.parametrize("megabytes", [5, 20])
def test_body_that_says_it_is_a_form(attacked: LocalServer, stage: Stage, photos: list[Path], megabytes: int) -> None:
    with stage.attack(f"{megabytes} MB said to be a form", f"{HERE}::test_body_that_says") as seen:
        statuses = post_as_form(attacked, photos[0], megabytes)
        seen.answer = "{}, as JSON {}".format(*statuses)
    assert statuses == (200 if megabytes < 20 else 400, 400)


def test_largest_body_that_says_it_is_a_form(attacked: LocalServer, photos: list[Path]) -> None:
    """Answered by the same processes; the first one of this size leaves them some 240 MB larger, once."""
    before = processes_of(attacked)
    assert post_as_form(attacked, photos[0], 63) == (400, 400)
    assert processes_of(attacked) == before


def post_as_form(server: LocalServer, photo: Path, megabytes: int) -> tuple[int, int]:
    """Statuses of a photo and of JSON sent as curl sends every `--data-binary`.

    Triton's HTTP library copies a form twice onto a stack of 8 MB.
    """
    padding = b"x" * (megabytes * 10**6)
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    raw, _ = post(server, photo.read_bytes() + padding, {**form, "Inference-Header-Content-Length": "0"})
    text, _ = post(server, b'{"id":"' + padding + b'","inputs":[]}', form)
    return raw, text


def test_refused_photos_keep_no_memory(attacked: LocalServer, stage: Stage, photos: list[Path]) -> None:
    """Frames of their errors held the photos: ten of 21 MB kept 600 MB."""
    photo = photos[0].read_bytes() + b"x" * 21_000_000
    with stage.attack("10 photos of 21 MB, refused", f"{HERE}::test_refused_photos") as seen:
        for _ in range(10):
            status, seen.answer = post(attacked, photo, {"Inference-Header-Content-Length": "0"})
    assert (status, "[image_too_large]" in seen.answer) == (400, True)


@pytest.mark.parametrize("megabytes", [65, 150])
def test_body_over_the_limit(attacked: LocalServer, stage: Stage, megabytes: int) -> None:
    shared = Path("/dev/shm")
    before = sum(segment.stat().st_blocks for segment in shared.glob(f"{attacked.segment_prefix}*"))
    with stage.attack(f"{megabytes} MB at once", f"{HERE}::test_body") as seen:
        status, body = post(attacked, ZEROS * megabytes, {"Inference-Header-Content-Length": "0"})
        message = service_pb2.ModelInferRequest(model_name="recognizer", raw_input_contents=[ZEROS * megabytes])
        seen.answer = said(infer_raw(attacked, message.SerializeToString()))
    assert status == http.client.REQUEST_ENTITY_TOO_LARGE
    assert json.loads(body)["error"].startswith("[message_too_large]")
    assert seen.answer.startswith("RESOURCE_EXHAUSTED [message_too_large] the request exceeds 64 MB")
    after = sum(segment.stat().st_blocks for segment in shared.glob(f"{attacked.segment_prefix}*"))
    assert after - before < 64 * MIB // 512, "the photos of others at most"


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        ("gRPC, 30,000,000 empty tensors", b"\x3a\x00" * 30_000_000),
        ("gRPC, 30,000,000 empty inputs", b"\x2a\x00" * 30_000_000),
        ("gRPC, a name of 20 MB", b"\x0a\x80\xda\xc4\x09" + b"a" * 20_000_000),
        ("gRPC, 8 MB of whole numbers", whole_numbers(inputs=1, bytes_each=8 * MIB)),
        ("gRPC, 60 MB of whole numbers in 15 inputs", whole_numbers(inputs=15, bytes_each=4_000_000)),
    ],
)
def test_message_that_costs_more_than_its_bytes(
    attacked: LocalServer, stage: Stage, attack: str, message: bytes
) -> None:
    with stage.attack(attack, f"{HERE}::test_message") as seen:
        seen.answer = said(infer_raw(attacked, message))
    assert seen.answer.startswith("INVALID_ARGUMENT [request_invalid] the message has more than 4096 fields")


def test_name_that_an_error_quotes_is_cut(attacked: LocalServer) -> None:
    with grpc.insecure_channel(attacked.grpc_target) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as quoted:
            stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="%é" * 5_000), timeout=30)
        with pytest.raises(grpc.RpcError) as refused:
            stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="%é" * 6_000), timeout=30)
    assert quoted.value.code() is grpc.StatusCode.NOT_FOUND
    assert quoted.value.details().endswith("... (cut)")
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_stream_of_requests_is_not_offered(attacked: LocalServer) -> None:
    with grpc.insecure_channel(attacked.grpc_target) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError) as refused:
            next(
                iter(stub.ModelStreamInfer(iter([service_pb2.ModelInferRequest(model_name="recognizer")]), timeout=30))
            )
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_half_a_header_is_waited_for_ten_seconds(attacked: LocalServer, stage: Stage) -> None:
    with (
        stage.attack("200 half headers", f"{HERE}::test_half_a_header") as seen,
        contextlib.ExitStack() as held,
    ):
        slow = [held.enter_context(socket.create_connection((ADDRESS, attacked.ports.http))) for _ in range(200)]
        for connection in slow:
            connection.sendall(f"POST {INFER} HTTP/1.1\r\nHost: a\r\n".encode())
            connection.settimeout(60)
        answers = {connection.recv(100)[:20] for connection in slow}
        seen.answer = " ".join(sorted(answer.decode() for answer in answers))
    assert answers == {b"HTTP/1.1 408 Request"}


def test_more_connections_than_the_front_takes(attacked: LocalServer, stage: Stage) -> None:
    """Those who are connected go on, and who comes after the flood is answered."""
    with (
        stage.attack("2,200 open connections", f"{HERE}::test_more_connections") as seen,
        contextlib.ExitStack() as held,
    ):
        for _ in range(2_200):
            with contextlib.suppress(OSError):
                held.enter_context(socket.create_connection((ADDRESS, attacked.ports.http), timeout=5))
        metrics = http.client.HTTPConnection(ADDRESS, attacked.ports.metrics, timeout=30)
        metrics.request("GET", "/metrics/front")
        text = metrics.getresponse().read().decode()
        metrics.close()
        seen.answer = "closed beyond 2,000"
    assert "envoy_listener_downstream_global_cx_overflow" in text
    assert post(attacked, b"{}")[0] == http.client.BAD_REQUEST


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v3",
        "/metrics",
        "/v2%2fmodels",
        "/v2/../metrics",
        "/v2/models",
        "/v2/models/recognizer/generate",
        "/v2/models/recognizer/%67enerate",
        "/v2/models/recognizer/infer/generate",
        "/v2/models/recognizer/versions/x/infer",
        "/v2/repository/a/models/recognizer/load",
        "/v2/systemsharedmemory/region/a/b/register",
    ],
)
def test_path_that_is_no_call(attacked: LocalServer, path: str) -> None:
    status, _ = post(attacked, b"{}", path=path)
    assert status in (http.client.BAD_REQUEST, http.client.NOT_FOUND)


def test_nobody_passes_by_the_front(attacked: LocalServer) -> None:
    """A neighbour on the machine finds the server's own ports, whose calls want the key that only the front has."""
    inner = attacked.inner_ports
    for path in ("/v2/health/ready", "/v2/models/recognizer", "/v2/models/recognizer/stats", INFER):
        with contextlib.closing(http.client.HTTPConnection(ADDRESS, inner.http, timeout=30)) as connection:
            connection.request("POST" if path == INFER else "GET", path, "{}" if path == INFER else None)
            assert connection.getresponse().status == http.client.FORBIDDEN, path
    with grpc.insecure_channel(inner.grpc_target) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for call, request in (
            (stub.ServerReady, service_pb2.ServerReadyRequest()),
            (stub.ModelInfer, service_pb2.ModelInferRequest(model_name="recognizer")),
        ):
            with pytest.raises(grpc.RpcError, match="restricted"):
                call(request, timeout=30)
