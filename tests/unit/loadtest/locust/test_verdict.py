"""Checks of constructed runs."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadtest.errors import LoadTestError
from loadtest.locust.run_result import RunResult, find_knee, read_result
from loadtest.locust.shapes import SHAPES, STEP_USERS, make_shape
from loadtest.locust.verdict import Check, Verdict, check_run
from loadtest.server.objectives import Objective
from loadtest.traffic.calls import EMBED, RECOGNIZE, REFUSE, SEARCH
from loadtest.traffic.latency_histogram import LatencyHistogram

OBJECTIVE = Objective("recognizer", availability=0.999, fast_share=0.99, under_s=0.25)


START_S = 1000.0


def make_run(shape: str = "smoke", latency_s: float = 0.05, **changes: Any) -> RunResult:
    """Ten correct calls per second: eight recognize or embed, one search, one invalid photo."""
    histogram = LatencyHistogram(OBJECTIVE.under_s)
    made = make_shape(shape)
    for second in range(int(made.duration_s)):
        for kind in (*[RECOGNIZE] * 6, EMBED, EMBED, SEARCH, REFUSE):
            histogram.answered(START_S + second + 0.5, kind, latency_s)
    fields: dict[str, Any] = {
        "shape": made, "started_s": START_S, "phases_reached": len(made.phases), "histogram": histogram, "users": {},
        "compared": 100, "largest_difference": 1e-7,
        "examples": {}, "lags_ms": [1.0] * 99 + [40.0], "locust": {},
    }  # fmt: skip
    return RunResult(**{**fields, **changes})


def counters(run: RunResult, lost: int = 0) -> dict[str, int]:
    """Counts of a server whose searcher calls the recognizer."""
    calls = {kind: run.histogram.total([kind]).calls for kind in run.histogram.kinds()}
    return {"recognizer": sum(calls.values()) - lost, "searcher": calls[SEARCH]}


def checks_of(run: RunResult, counted: dict[str, int] | None = None) -> dict[str, Check]:
    checks = check_run(run, OBJECTIVE, counted or counters(run), bad_share=0.1, searcher_calls_recognizer=True)
    return {check.name: check for check in checks}


def failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.result == "failed"}


@pytest.mark.parametrize("shape", list(SHAPES))
def test_every_check_passes_when_all_is_well(shape: str) -> None:
    checks = checks_of(make_run(shape))
    assert failed(checks) == set()
    assert {"failures", "invalid photos", "reference answers", "counts of recognizer", "counts of searcher"} < {
        name for name, check in checks.items() if check.result == "passed"
    }


def test_slow_answers_fail_the_latency_and_nothing_else() -> None:
    run = make_run()
    for _ in range(3):  # of some 150 in the judged phase: 2 %, where 1 % may be slow
        run.histogram.answered(START_S + 10, RECOGNIZE, 0.251)
    checks = checks_of(run)
    assert failed(checks) == {"latency"}
    assert "took less than 250 ms, expected 99%" in checks["latency"].reason


def test_one_slow_answer_in_two_hundred_is_within_the_objective() -> None:
    run = make_run()
    run.histogram.answered(START_S + 10, RECOGNIZE, 3)
    assert failed(checks_of(run)) == set()


def test_overload_fails_the_availability_of_a_steady_run_and_not_of_a_step_run() -> None:
    steady, step = make_run(), make_run("step")
    for run in (steady, step):
        run.histogram.failed(START_S + 10, RECOGNIZE, "Overloaded")
    assert failed(checks_of(steady)) == {"availability", "failures"}
    assert failed(checks_of(step)) == set()


@pytest.mark.parametrize("reason", ["ServerFault", "UnreadableImage", "ContractMismatch"])
def test_fault_fails_a_run_whatever_its_shape(reason: str) -> None:
    run = make_run("step", examples={reason: "what the server said"})
    run.histogram.failed(START_S + 10, RECOGNIZE, reason)
    checks = checks_of(run)
    assert failed(checks) == {"failures"}
    assert "what the server said" in checks["failures"].reason


def test_bad_photo_that_is_answered_fails() -> None:
    run = make_run("step")
    run.histogram.failed(START_S + 10, REFUSE, "BadPhotoAnswered")
    assert failed(checks_of(run)) == {"invalid photos"}


def test_wrong_answer_fails() -> None:
    run = make_run("step", examples={"WrongAnswer": "a number differs"})
    run.histogram.failed(START_S + 10, RECOGNIZE, "WrongAnswer")
    assert failed(checks_of(run)) == {"reference answers"}


def test_reference_answers_fail_when_nothing_was_compared() -> None:
    assert failed(checks_of(make_run(compared=0))) == {"reference answers"}


@pytest.mark.parametrize("lost", [1, -1])
def test_counts_fail_when_the_server_counted_others(lost: int) -> None:
    run = make_run()
    checks = checks_of(run, counters(run, lost))
    assert failed(checks) == {"counts of recognizer"}


def test_counts_pass_when_what_is_missing_may_not_have_arrived() -> None:
    run = make_run("step")
    run.histogram.failed(START_S + 10, RECOGNIZE, "DeadlineExceeded")
    assert failed(checks_of(run, counters(run, lost=1))) == set()
    assert failed(checks_of(run, counters(run, lost=2))) == {"counts of recognizer"}


def test_generator_fails_when_its_loop_is_late_or_was_never_timed() -> None:
    late = checks_of(make_run(lags_ms=[1.0] * 90 + [40.0] * 10))
    assert failed(late) == {"generator"}
    assert "The generator limits the figures" in late["generator"].reason
    assert failed(checks_of(make_run(lags_ms=[]))) == {"generator"}


def test_run_without_calls_fails() -> None:
    empty = replace(make_run(), histogram=LatencyHistogram(OBJECTIVE.under_s))
    assert "objective" in failed(checks_of(empty, {"recognizer": 0, "searcher": 0}))


def test_bad_photos_fail_when_none_was_sent_in_many_calls() -> None:
    run = make_run()
    for by_kind in run.histogram.seconds.values():
        del by_kind[REFUSE]
    assert failed(checks_of(run)) == {"invalid photos"}


def test_verdict_is_written_as_junit(tmp_path: Path) -> None:
    checks = [Check("a", "passed", "as it should"), Check("b", "failed", "3 < 4"), Check("c", "skipped", "not here")]
    verdict = Verdict({"smoke": checks, "step": checks[:1]})
    assert not verdict.passed
    assert Verdict({"step": [checks[0], checks[2]]}).passed
    verdict.write_junit(tmp_path / "v.xml")
    suites = ET.parse(tmp_path / "v.xml").getroot()
    assert [[suite.get(name) for name in ("name", "tests", "failures", "skipped")] for suite in suites] == [
        ["loadtest.smoke", "3", "1", "1"],
        ["loadtest.step", "1", "0", "0"],
    ]
    (failure,) = suites.iter("failure")
    assert failure.get("message") == "3 < 4"
    assert json.loads(json.dumps(verdict.as_json()))["smoke"][1]["result"] == "failed"


def test_knee_is_the_fewest_users_near_the_highest_rate() -> None:
    rows = [{"users": users, "answers_per_s": rate} for users, rate in ((1, 15), (2, 29), (4, 41), (8, 45), (16, 44))]
    assert find_knee(rows)["users"] == 4


def test_phases_follow_each_other_and_leave_their_start_out() -> None:
    shape = make_shape("step", scale=0.5)
    assert tuple(phase.users for phase in shape.phases) == STEP_USERS
    assert [phase.start_s for phase in shape.phases] == [0, 5, 10, 15, 20, 25]
    assert shape.phase_at(4.99) is shape.phases[0]
    assert shape.phase_at(5) is shape.phases[1]
    assert shape.phase_at(30) is None
    run = make_run("spike")
    run.histogram.answered(START_S + 10.5, RECOGNIZE, 30)  # in the first seconds of the spike
    assert run.rows()[1]["within"] == 1
    run.histogram.answered(START_S + 15.5, RECOGNIZE, 30)
    assert run.rows()[1]["within"] < 1


def test_result_is_refused_when_a_run_wrote_none(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="wrote no result"):
        read_result(tmp_path / "nothing.json", make_shape("smoke"), 0.25)


def test_calls_that_end_after_the_break_make_no_phase() -> None:
    run = make_run("breakpoint", phases_reached=2)
    assert [row["users"] for row in run.rows()] == [2, 8]
