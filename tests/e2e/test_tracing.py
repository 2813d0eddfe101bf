"""Traces leave the real server for an OpenTelemetry collector, under the caller's trace id."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http
from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from ops.server.local_server import LocalServer
from ops.settings import Settings

PATIENCE_S = 30.0
CALLERS_SPAN = "b7ad6b7169203331"
WANTED = "0af7651916cd43dd8448eb211c80319c"
_IDS = ("traceId", "spanId", "parentSpanId")


class Collector(ThreadingHTTPServer):
    """Takes OTLP/HTTP as the specification has it, protobuf or JSON; what does not fit the schema is refused."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[Any] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    def receive(self, path: str, content_type: str, body: bytes) -> None:
        assert path == "/v1/traces"
        export = ExportTraceServiceRequest()
        if content_type == "application/json":
            # OTLP's JSON has ids in hex where protobuf's own JSON has base64.
            json_format.ParseDict(json.loads(body, object_hook=_to_base64), export)
        else:
            export.ParseFromString(body)
        for resource in export.resource_spans:
            names = {one.key: one.value.string_value for one in resource.resource.attributes}
            assert names["service.name"] == "triptych"
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]


def _to_base64(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        key: base64.b64encode(bytes.fromhex(value)).decode() if key in _IDS else value for key, value in fields.items()
    }


class _Receiver(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.receive(self.path, self.headers["Content-Type"], body)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def call(server: LocalServer, triton: ModuleType, photo: bytes, request_id: str, headers: dict[str, str]) -> None:
    image = triton.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[photo]], dtype=object))
    address = server.grpc_target if triton is tritonclient.grpc else server.http_url.removeprefix("http://")
    with triton.InferenceServerClient(address) as client:
        client.infer("recognizer", [image], request_id=request_id, headers=headers)


@pytest.mark.parametrize(
    ("profile", "models"), [("cpu", {"recognizer"}), (None, {"recognizer", "preprocess", "embedder", "classifier"})]
)
def test_spans_arrive_under_the_callers_trace_id(
    collector: Collector, photos: list[Path], profile: str | None, models: set[str]
) -> None:
    settings = Settings(
        http_port=0, grpc_port=0, metrics_port=0, profile=profile, trace_to=collector.url, trace_rate=1000
    )
    with LocalServer(settings) as server:
        traceparent = f"00-{WANTED}-{CALLERS_SPAN}-01"
        call(server, tritonclient.http, photos[0].read_bytes(), "order-7", {"traceparent": traceparent})
        deadline_s = time.monotonic() + PATIENCE_S
        while not {"InferRequest", *models} <= {span.name for span in _wanted(collector)}:
            assert time.monotonic() < deadline_s, [span.name for span in _wanted(collector)]
            time.sleep(0.1)
    spans = _wanted(collector)
    (outermost,) = [span for span in spans if span.name == "InferRequest"]
    assert outermost.parent_span_id.hex() == CALLERS_SPAN
    (recognizer,) = [span for span in spans if span.name == "recognizer"]
    attributes = {one.key: one.value.string_value for one in recognizer.attributes}
    assert attributes["triton.request_id"] == "order-7"


def test_spans_arrive_over_grpc(collector: Collector, photos: list[Path]) -> None:
    """Some do: Triton reads the header to the next NUL, wherever that is, and drops about one in four."""
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, trace_to=collector.url, trace_rate=1000)
    with LocalServer(settings) as server:
        for number in range(16):
            headers = {"traceparent": f"00-{WANTED}-{CALLERS_SPAN}-01"}
            call(server, tritonclient.grpc, photos[number].read_bytes(), f"order-{number}", headers)
        deadline_s = time.monotonic() + PATIENCE_S
        while not _wanted(collector) and time.monotonic() < deadline_s:
            time.sleep(0.1)
    assert _wanted(collector)


def test_every_request_is_traced_at_rate_1(collector: Collector, photos: list[Path]) -> None:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, trace_to=collector.url)
    with LocalServer(settings) as server:
        for number in range(3):
            call(server, tritonclient.grpc, photos[number].read_bytes(), f"order-{number}", {})
        deadline_s = time.monotonic() + PATIENCE_S
        while len(_traces(collector)) < 3 and time.monotonic() < deadline_s:
            time.sleep(0.1)
    assert len(_traces(collector)) == 3


def _wanted(collector: Collector) -> list[Any]:
    return [span for span in collector.spans if span.trace_id.hex() == WANTED]


def _traces(collector: Collector) -> set[bytes]:
    return {span.trace_id for span in collector.spans}
