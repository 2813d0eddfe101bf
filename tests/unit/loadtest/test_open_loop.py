"""What the open loop sends and how its figures come about. No server."""

from __future__ import annotations

import dataclasses
from collections import Counter

import pytest
from tritonclient.grpc import service_pb2

from loadtest.open_loop import Questions, Seen, arrivals
from loadtest.overload import Verdict

PHOTO = b"\xff\xd8 a photo"


def test_question_is_a_whole_request_when_its_own_bytes_are_behind_it() -> None:
    questions = Questions([PHOTO], {"priority": 2, "timeout": 7})
    bodies = [questions.fresh(number) for number in range(3)]
    photos = set()
    for body in bodies:
        request = service_pb2.ModelInferRequest.FromString(body)
        assert {name: value.int64_param for name, value in request.parameters.items()} == {"priority": 2, "timeout": 7}
        (content,) = request.raw_input_contents
        assert int.from_bytes(content[:4], "little") == len(content) - 4
        assert content[4:].startswith(PHOTO)
        photos.add(content)
    assert len(photos) == 3, "no cache knows any of them"


@pytest.mark.parametrize("rate", [10.0, 400.0])
def test_arrivals_have_the_rate_and_the_same_times_in_each_run(rate: float) -> None:
    due_s = list(arrivals(rate, 50.0, seed=7))
    # Four standard deviations of a Poisson count.
    assert len(due_s) == pytest.approx(rate * 50, abs=4 * (rate * 50) ** 0.5)
    assert due_s == sorted(due_s)
    assert due_s == list(arrivals(rate, 50.0, seed=7))


def test_rate_leaves_out_what_came_after_the_last_request() -> None:
    seen = Seen(due=4, took_s=[0.1] * 4, answered_s=[0.5, 1.0, 2.0, 2.5], lasted_s=2.0)
    assert seen.rate == 1.5
    assert Seen().took_ms(99) != Seen().took_ms(99), "nan where nothing was answered"


GOOD = Verdict(
    capacity=100.0,
    alone_ms=(10.0, 40.0),
    beside_ms=(20.0, 60.0),
    bulk_rate=60.0,
    offered=1000.0,
    goodput=95.0,
    overload_ms=(1300.0, 1500.0),
    refused=dict(Counter({"UNAVAILABLE: Exceeds maximum queue size": 900})),
    refused_ms=4.0,
    grown_mb=20.0,
    driver_cores=0.3,
    wrong=0,
)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"beside_ms": (20.0, 81.0)}, "raised the p99 of the interactive 2.02x"),
        ({"goodput": 79.0}, "79% of the capacity"),
        ({"overload_ms": (1.0, 3001.0)}, "the p99 was 3.0 s"),
        ({"grown_mb": 301.0}, "grew by 301 MB"),
        ({"wrong": 1}, "1 answers were not the photo's"),
    ],
)
def test_verdict_names_the_bar_that_was_missed(change: dict[str, object], sentence: str) -> None:
    assert GOOD.failures() == []
    (failure,) = dataclasses.replace(GOOD, **change).failures()  # type: ignore[arg-type]
    assert sentence in failure
