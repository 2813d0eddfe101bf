"""Traces leave the real server for an OpenTelemetry collector, under the caller's trace id."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from ops.server.local_server import LocalServer
from ops.settings import Settings
from tests.e2e.trace_collector import Collector, collecting, wait_for_spans

CALLERS_SPAN = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module", params=["cpu", None], ids=["fused", "ensemble"])
def server(request: pytest.FixtureRequest, collector: Collector) -> Iterator[LocalServer]:
    """Traces one request in 1,000, and those whose caller asks for it."""
    settings = Settings(
        http_port=0, grpc_port=0, metrics_port=0, profile=request.param, trace_to=collector.url, trace_rate=1000
    )
    with LocalServer(settings) as server:
        yield server


@pytest.fixture
def trace_id() -> str:
    """Of a trace that no other test has begun."""
    return uuid.uuid4().hex


def call(server: LocalServer, triton: ModuleType, photo: bytes, request_id: str, headers: dict[str, str]) -> None:
    image = triton.InferInput("image", [1, 1], "BYTES")
    image.set_data_from_numpy(np.array([[photo]], dtype=object))
    address = server.grpc_target if triton is tritonclient.grpc else server.http_url.removeprefix("http://")
    with triton.InferenceServerClient(address) as client:
        client.infer("recognizer", [image], request_id=request_id, headers=headers)


def spans_of(collector: Collector, trace_id: str) -> list[Any]:
    return [span for span in collector.spans if span.trace_id.hex() == trace_id]


def test_spans_arrive_under_the_callers_trace_id(
    server: LocalServer, collector: Collector, photos: list[Path], trace_id: str
) -> None:
    models = {"recognizer"} if server.settings.profile else {"recognizer", "preprocess", "embedder", "classifier"}
    traceparent = f"00-{trace_id}-{CALLERS_SPAN}-01"
    call(server, tritonclient.http, photos[0].read_bytes(), "order-7", {"traceparent": traceparent})
    assert wait_for_spans(lambda: {"InferRequest", *models} <= {span.name for span in spans_of(collector, trace_id)})
    spans = spans_of(collector, trace_id)
    (outermost,) = [span for span in spans if span.name == "InferRequest"]
    assert outermost.parent_span_id.hex() == CALLERS_SPAN
    (recognizer,) = [span for span in spans if span.name == "recognizer"]
    attributes = {one.key: one.value.string_value for one in recognizer.attributes}
    assert attributes["triton.request_id"] == "order-7"
    assert collector.services == {"triptych"}


def test_spans_arrive_over_grpc(server: LocalServer, collector: Collector, photos: list[Path], trace_id: str) -> None:
    """Some do: Triton reads the header to the next NUL, wherever that is, and drops up to one in four.

    Each call has a span of its own, as real callers do: a header sent once more over the front's connection comes from
    HPACK's table, that is from the same memory, so that all of them would be dropped or none.
    """
    for number in range(16):
        headers = {"traceparent": f"00-{trace_id}-{number + 1:016x}-01"}
        call(server, tritonclient.grpc, photos[number].read_bytes(), f"order-{number}", headers)
    assert wait_for_spans(lambda: bool(spans_of(collector, trace_id)))


def test_every_request_is_traced_at_rate_1(photos: list[Path]) -> None:
    with collecting() as collector:
        settings = Settings(http_port=0, grpc_port=0, metrics_port=0, trace_to=collector.url)
        with LocalServer(settings) as server:
            for number in range(3):
                call(server, tritonclient.grpc, photos[number].read_bytes(), f"order-{number}", {})
            wait_for_spans(lambda: len(set(collector.trace_ids())) >= 3)
        assert len(set(collector.trace_ids())) == 3
