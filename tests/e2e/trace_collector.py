"""An OpenTelemetry collector on this machine, for the spans of a real server."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf import json_format
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PATIENCE_S = 30.0
_IDS = ("traceId", "spanId", "parentSpanId")


class Collector(ThreadingHTTPServer):
    """Receives OTLP/HTTP, protobuf or JSON; refuses what does not fit the schema.

    Attributes:
        spans: in the order in which they arrived.
        services: the names of the services that sent them.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.spans: list[Any] = []
        self.services: set[str] = set()

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
            self.services.add(names["service.name"])
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]

    def trace_ids(self) -> list[str]:
        """The trace id of each span."""
        return [span.trace_id.hex() for span in self.spans]


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
        """Logs nothing."""


@contextmanager
def collecting() -> Iterator[Collector]:
    """Yields a running collector."""
    with Collector() as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield collector
        collector.shutdown()
        thread.join()


def wait_for_spans(condition: Callable[[], bool]) -> bool:
    """Waits until the condition holds, for `PATIENCE_S` at most."""
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.1)
    return False
