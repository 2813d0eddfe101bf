"""The caller's trace goes on in the real server, which sends its spans to a collector played on this machine."""

from __future__ import annotations

import http.server
import json
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from ops.server.local_server import LocalServer
from ops.settings import Settings
from triptych import Client

WAIT_S = 30.0
# Triton loses some of those that come over gRPC (docs/decisions/0056); of so many one arrives.
SOME = 16


@pytest.fixture
def collected() -> Iterator[tuple[str, queue.Queue[str]]]:
    """The address of a collector and the trace ids of the spans it gets, in their order."""
    trace_ids: queue.Queue[str] = queue.Queue()

    class Collector(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for resource in body["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    for span in scope["spans"]:
                        trace_ids.put(span["traceId"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{collector.server_port}/v1/traces", trace_ids
        collector.shutdown()
        thread.join()


def trace_id_of_call(client: Client, photo: Path, sampler: Sampler) -> str:
    tracer = TracerProvider(sampler=sampler, shutdown_on_exit=False).get_tracer("shop")
    with tracer.start_as_current_span("checkout") as span:
        client.recognize(photo)
    return f"{span.get_span_context().trace_id:032x}"


def test_server_continues_the_trace_when_its_span_is_sampled(
    collected: tuple[str, queue.Queue[str]], photos: list[Path]
) -> None:
    address, trace_ids = collected
    # Rate 0: the server begins no trace of its own, so that what it sends was asked for.
    trace = ("mode=opentelemetry", f"opentelemetry,url={address}", "level=TIMESTAMPS", "rate=0")
    options = tuple(f"--trace-config={setting}" for setting in trace)
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, server_options=options)
    with LocalServer(settings) as server, Client(server.grpc_target, tracing=True) as client:
        for photo in photos[:SOME]:
            trace_id_of_call(client, photo, ALWAYS_OFF)
            client.recognize(photo)
        sampled = {trace_id_of_call(client, photo, ALWAYS_ON) for photo in photos[:SOME]}
        # Spans come in the order they ended: any of the calls before would come first.
        assert trace_ids.get(timeout=WAIT_S) in sampled
