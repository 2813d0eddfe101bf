"""The caller's trace goes on in the real server, which sends its spans to a collector on this machine."""

from __future__ import annotations

from pathlib import Path

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from ops.server.local_server import LocalServer
from ops.settings import Settings
from tests.e2e.trace_collector import collecting, wait_for_spans
from triptych import Client

# Triton loses some of those that come over gRPC (docs/decisions/0056); of so many one arrives.
SOME = 16


def trace_id_of_call(client: Client, photo: Path, sampler: Sampler) -> str:
    tracer = TracerProvider(sampler=sampler, shutdown_on_exit=False).get_tracer("shop")
    with tracer.start_as_current_span("checkout") as span:
        client.recognize(photo)
    return f"{span.get_span_context().trace_id:032x}"


def test_server_continues_the_trace_when_its_span_is_sampled(photos: list[Path]) -> None:
    with collecting() as collector:
        # Rate 0: the server begins no trace of its own, so that what it sends was asked for.
        trace = ("mode=opentelemetry", f"opentelemetry,url={collector.url}", "level=TIMESTAMPS", "rate=0")
        options = tuple(f"--trace-config={setting}" for setting in trace)
        settings = Settings(http_port=0, grpc_port=0, metrics_port=0, server_options=options)
        with LocalServer(settings) as server, Client(server.grpc_target, tracing=True) as client:
            for photo in photos[:SOME]:
                trace_id_of_call(client, photo, ALWAYS_OFF)
                client.recognize(photo)
            sampled = {trace_id_of_call(client, photo, ALWAYS_ON) for photo in photos[:SOME]}
            assert wait_for_spans(lambda: bool(collector.spans))
            # Spans come in the order they ended: any of the calls before would come first.
            assert collector.trace_ids()[0] in sampled
