"""Which trace context travels with a call. Spans are OpenTelemetry's own; a fake server records the headers."""

from __future__ import annotations

import asyncio
import subprocess
import sys

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, TraceState

from triptych._core.protocol import InferRequest
from triptych.testing import FakeServer, fake_async_client, fake_client
from triptych.tracing import trace_headers

TRACE_ID, SPAN_ID = 0x4BF92F3577B34DA6A3CE929D0E0E4736, 0x00F067AA0BA902B7


def tracer(sampler: Sampler) -> trace.Tracer:
    return TracerProvider(sampler=sampler, shutdown_on_exit=False).get_tracer("shop")


def remote_span(*, sampled: bool) -> NonRecordingSpan:
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
    return NonRecordingSpan(SpanContext(TRACE_ID, SPAN_ID, True, flags, TraceState([("shop", "42")])))


def test_headers_are_those_of_w3c_when_the_span_is_sampled() -> None:
    with trace.use_span(remote_span(sampled=True)):
        assert trace_headers() == {
            "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "tracestate": "shop=42",
        }


def test_headers_are_none_when_the_span_is_not_sampled() -> None:
    with trace.use_span(remote_span(sampled=False)):
        assert trace_headers() == {}
    with tracer(ALWAYS_OFF).start_as_current_span("checkout"):
        assert trace_headers() == {}


def test_headers_are_none_when_there_is_no_span() -> None:
    assert trace_headers() == {}


def test_calls_carry_the_span_when_tracing_is_on() -> None:
    fake = FakeServer()
    with tracer(ALWAYS_ON).start_as_current_span("checkout") as span:
        fake_client(fake, tracing=True).recognize(b"a shoe")
    trace_id = f"{span.get_span_context().trace_id:032x}"
    assert [recorded.headers["traceparent"].split("-")[1] for recorded in fake.calls] == [trace_id] * 2


def test_calls_carry_nothing_when_tracing_is_off() -> None:
    fake = FakeServer()
    with tracer(ALWAYS_ON).start_as_current_span("checkout"):
        fake_client(fake).recognize(b"a shoe")
    assert [dict(recorded.headers) for recorded in fake.calls] == [{}, {}]


def test_span_reaches_the_threads_when_many_photos_are_sent() -> None:
    fake = FakeServer()
    client = fake_client(fake, tracing=True)
    with tracer(ALWAYS_ON).start_as_current_span("import"):
        assert len(list(client.embed_many([b"a", b"b", b"c"]))) == 3
    inferences = [recorded for recorded in fake.calls if isinstance(recorded.call, InferRequest)]
    assert len(inferences) == 3
    assert all("traceparent" in recorded.headers for recorded in inferences)


def test_each_task_carries_its_own_span_when_calls_overlap() -> None:
    fake = FakeServer()
    fake.delay_s = 0.01

    async def traced(photo: bytes) -> str:
        with tracer(ALWAYS_ON).start_as_current_span("photo") as span:
            await client.embed(photo)
            return f"{span.get_span_context().trace_id:032x}"

    async def overlap() -> list[str]:
        async with client:
            return list(await asyncio.gather(traced(b"a"), traced(b"b")))

    client = fake_async_client(fake, tracing=True)
    expected = dict(zip([b"a", b"b"], asyncio.run(overlap()), strict=True))
    found = {
        recorded.call.photos[0]: recorded.headers["traceparent"].split("-")[1]
        for recorded in fake.calls
        if isinstance(recorded.call, InferRequest)
    }
    assert found == expected


def test_tracing_names_its_extra_when_opentelemetry_is_missing() -> None:
    program = """
import sys
sys.modules["opentelemetry"] = None
from triptych import Client
try:
    Client(tracing=True)
except ModuleNotFoundError as error:
    print(error)
"""
    result = subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, capture_output=True, text=True)
    assert "tracing=True needs opentelemetry" in result.stdout
    assert "pip install 'triptych-client[tracing]', or in a checkout pip install './client[tracing]'" in result.stdout


def test_auth_and_trace_travel_together_when_both_are_set() -> None:
    fake = FakeServer()
    with tracer(ALWAYS_ON).start_as_current_span("checkout"):
        fake_client(fake, tracing=True, auth={"authorization": "Bearer t"}).embed(b"a")
    assert set(fake.calls[-1].headers) == {"authorization", "traceparent"}
