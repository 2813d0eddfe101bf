"""The search for the peak on servers that are formulas, and the checks of a trial."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from loadtest.errors import LoadTestError
from loadtest.open_loop import peak_rate
from loadtest.open_loop.peak_rate import RateTester, Trial, find_peak
from loadtest.open_loop.stream import StreamResult
from loadtest.server.objectives import Objective

OBJECTIVE = Objective("recognizer", availability=0.999, fast_share=0.99, under_s=0.25)
TRIAL = Trial(20.0, 10, 200, 20.0, 60, 90, 120, 1.0, {})


def trial_of(rate: float, duration_s: float, p99_ms: float) -> Trial:
    trial = replace(TRIAL, rate=rate, duration_s=duration_s, p99_ms=p99_ms)
    return replace(trial, missed=trial.check(OBJECTIVE))


@pytest.mark.parametrize("true_peak", [7.0, 31.0, 52.0, 59.0])
def test_peak_is_found_by_bisection(true_peak: float) -> None:
    trials = list(find_peak(lambda rate, s: trial_of(rate, s, 249 if rate <= true_peak else 251), 60, 10, tries=7))
    assert len(trials) == 8
    name, last = trials[-1]
    assert (name, last.missed, last.duration_s) == ("confirmed", None, 20)
    # After seven tries the interval between the highest rate that passed and the lowest that failed is 60 / 2^6.
    assert true_peak - 60 / 2**6 <= last.rate <= true_peak


def test_peak_steps_down_when_the_highest_rate_passed_by_chance() -> None:
    def lucky(rate: float, duration_s: float) -> Trial:
        return trial_of(rate, duration_s, 249 if rate <= (40 if duration_s == 10 else 33) else 251)

    names = [name for name, _ in find_peak(lucky, 60, 10, tries=6)]
    assert names[-3:] == ["not confirmed", "not confirmed", "confirmed"]


def test_search_ends_when_no_rate_meets_the_objective() -> None:
    trials = list(find_peak(lambda rate, s: trial_of(rate, s, 900), 60, 10, tries=4))
    assert len(trials) == 8
    assert trials[-1][1].missed == "p99 900 ms, expected less than 250"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"p99_ms": 250.0}, "p99 250 ms, expected less than 250"),
        ({"p99_ms": math.nan}, "p99 nan ms, expected less than 250"),
        ({"failures": {"UNAVAILABLE: full": 1}}, "1 UNAVAILABLE: full of 200"),
        ({"lag_p99_ms": 30.0}, "the generator was late: p99 of its lag 30 ms, expected 25"),
        ({"photos": 0}, "no photo was sent"),
    ],
)
def test_trial_misses_the_objective_for_a_reason(changes: dict[str, object], sentence: str | None) -> None:
    missed = replace(TRIAL, **changes).check(OBJECTIVE)  # type: ignore[arg-type]
    assert missed == sentence or (sentence is not None and missed is not None and sentence in missed)


def test_one_failure_of_a_thousand_is_within_the_objective() -> None:
    assert replace(TRIAL, photos=1000, failures={"UNAVAILABLE: full": 1}).check(OBJECTIVE) is None
    assert replace(TRIAL, photos=999, failures={"UNAVAILABLE: full": 1}).check(OBJECTIVE) is not None


def test_trial_without_answers_is_valid_json() -> None:
    content = json.dumps(replace(TRIAL, p50_ms=math.nan, p99_ms=math.nan).as_json(), allow_nan=False)
    assert json.loads(content)["p99_ms"] is None


def make_tester(monkeypatch: pytest.MonkeyPatch, result: StreamResult, counted: int) -> RateTester:
    """A tester whose stream has this result and whose server counts so many requests."""
    counts = iter([{"recognizer": 7}, {"recognizer": 7 + counted}])
    monkeypatch.setattr(peak_rate, "fetch_references", lambda target, requests: [np.ones(1, np.float32)])
    monkeypatch.setattr(peak_rate, "count_requests", lambda url: next(counts))
    monkeypatch.setattr(peak_rate, "run_open_loop", lambda *_, **__: result)
    return RateTester("127.0.0.1:1", "http://127.0.0.1:1/metrics", [b"a photo"], OBJECTIVE, seed=1)


RESULT = StreamResult(
    sent=4, latencies_s=[0.01, 0.02, 0.03], answered_at_s=[0.1, 0.2, 0.3], lags_s=[0.001] * 4, duration_s=1.0,
    errors=Counter({"UNAVAILABLE: Exceeds maximum queue size": 1}),
)  # fmt: skip


@pytest.mark.parametrize("counted", [3, 4])
def test_trial_is_made_of_a_stream_when_the_server_counted_its_requests(
    monkeypatch: pytest.MonkeyPatch, counted: int
) -> None:
    trial = make_tester(monkeypatch, RESULT, counted).try_rate(20.0, 1.0)
    assert (trial.rate, trial.photos, trial.completed_per_s, trial.failed) == (20, 4, 3, 1)
    assert trial.p50_ms == pytest.approx(20)
    assert trial.lag_p99_ms == pytest.approx(1)
    assert trial.missed == "1 UNAVAILABLE: Exceeds maximum queue size of 4"


@pytest.mark.parametrize("counted", [2, 5])
def test_trial_is_void_when_the_server_counted_other_requests(monkeypatch: pytest.MonkeyPatch, counted: int) -> None:
    with pytest.raises(LoadTestError, match=f"4 requests were sent, the server counted {counted}: another client"):
        make_tester(monkeypatch, RESULT, counted).try_rate(20.0, 1.0)


def test_trial_is_void_when_an_answer_was_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LoadTestError, match="1 of 3 answers differ from the answers without load"):
        make_tester(monkeypatch, replace(RESULT, wrong_answers=1), 4).try_rate(20.0, 1.0)
