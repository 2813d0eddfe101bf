"""Requests and figures of the open loop, without a server."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from tritonclient.grpc import service_pb2

from loadtest.open_loop.overload import OverloadResult
from loadtest.open_loop.stream import EncodedRequests, StreamResult, arrivals

PHOTO = b"\xff\xd8 a photo"


def test_request_is_complete_when_its_unique_bytes_are_appended() -> None:
    requests = EncodedRequests([PHOTO])
    photos = set()
    for number in range(3):
        request = service_pb2.ModelInferRequest.FromString(requests.next_body(number))
        assert list(request.outputs) == []
        (content,) = request.raw_input_contents
        assert int.from_bytes(content[:4], "little") == len(content) - 4
        assert content[4:].startswith(PHOTO)
        photos.add(content)
    assert len(photos) == 3, "each request has a photo of its own bytes"


@pytest.mark.parametrize("rate", [10.0, 400.0])
def test_arrivals_have_the_rate_and_the_same_times_in_each_run(rate: float) -> None:
    due_s = list(arrivals(rate, 50.0, seed=7))
    # Four standard deviations of a Poisson count.
    assert len(due_s) == pytest.approx(rate * 50, abs=4 * (rate * 50) ** 0.5)
    assert due_s == sorted(due_s)
    assert due_s == list(arrivals(rate, 50.0, seed=7))
    assert due_s != list(arrivals(rate, 50.0, seed=8))


def test_rate_excludes_answers_after_the_last_request() -> None:
    result = StreamResult(sent=4, latencies_s=[0.1] * 4, answered_at_s=[0.5, 1.0, 2.0, 2.5], duration_s=2.0)
    assert result.rate == 1.5
    assert StreamResult().latency_ms(99) != StreamResult().latency_ms(99), "NaN without answers"


GOOD = OverloadResult(
    capacity=100.0,
    alone_ms=(10.0, 40.0),
    beside_bulk_ms=(20.0, 60.0),
    bulk_rate=60.0,
    offered=1000.0,
    goodput=95.0,
    overload_ms=(1300.0, 1500.0),
    errors=dict(Counter({"UNAVAILABLE: Exceeds maximum queue size": 900})),
    growth_mb=20.0,
    generator_cores=0.3,
    wrong_answers=0,
)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"beside_bulk_ms": (20.0, 81.0)}, "raised the p99 of interactive requests 2.02x"),
        ({"goodput": 79.0}, "79% of the capacity"),
        ({"overload_ms": (1.0, 3001.0)}, "the p99 was 3.0 s"),
        ({"growth_mb": 301.0}, "grew by 301 MB"),
        ({"wrong_answers": 1}, "1 answers were wrong"),
    ],
)
def test_result_names_the_bound_that_was_missed(change: dict[str, object], sentence: str) -> None:
    assert GOOD.failures() == []
    (failure,) = dataclasses.replace(GOOD, **change).failures()  # type: ignore[arg-type]
    assert sentence in failure
