"""Runs made by hand, and what the verdict says of them."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest import baseline
from loadtest.errors import LoadTestError
from loadtest.objectives import Objective, read_objective
from loadtest.run_outcome import RunOutcome, find_knee, read_outcome
from loadtest.shapes import SHAPES, STEP_USERS, make_shape
from loadtest.tally import BUCKET_RATIO, Tally
from loadtest.traffic import EMBED, RECOGNIZE, REFUSE, SEARCH
from loadtest.verdict import Check, Verdict, judge

OBJECTIVE = Objective("recognizer", availability=0.999, fast_share=0.99, under_s=0.25)
START_S = 1000.0


def make_run(shape: str = "smoke", latency_s: float = 0.05, **changes: Any) -> RunOutcome:
    """Ten calls a second, as they should be: eight recognised or embedded, one searched, one bad."""
    tally = Tally(OBJECTIVE.under_s)
    made = make_shape(shape)
    for second in range(int(made.duration_s)):
        for kind in (*[RECOGNIZE] * 6, EMBED, EMBED, SEARCH, REFUSE):
            tally.answered(START_S + second + 0.5, kind, latency_s)
    fields: dict[str, Any] = {
        "shape": made, "started_s": START_S, "phases_reached": len(made.phases), "tally": tally, "users": {},
        "compared": 100, "largest": 1e-7,
        "examples": {}, "lags_ms": [1.0] * 99 + [40.0], "locust": {},
    }  # fmt: skip
    return RunOutcome(**{**fields, **changes})


def counters(run: RunOutcome, lost: int = 0) -> dict[str, int]:
    """What a server whose searcher asks the recognizer counts."""
    calls = {kind: run.tally.total([kind]).calls for kind in run.tally.kinds()}
    return {"recognizer": sum(calls.values()) - lost, "searcher": calls[SEARCH]}


def judged(run: RunOutcome, after: dict[str, int] | None = None) -> dict[str, Check]:
    before = {"recognizer": 7, "searcher": 3}
    counted = {model: before[model] + count for model, count in (after or counters(run)).items()}
    checks = judge(run, OBJECTIVE, before, counted, bad_share=0.1, searcher_asks_recognizer=True)
    return {check.name: check for check in checks}


def failed(checks: dict[str, Check]) -> set[str]:
    return {name for name, check in checks.items() if check.result == "failed"}


@pytest.mark.parametrize("shape", list(SHAPES))
def test_every_check_passes_when_all_is_well(shape: str) -> None:
    checks = judged(make_run(shape))
    assert failed(checks) == set()
    assert {"outcomes", "bad photos", "golden answers", "counts of recognizer", "counts of searcher"} < {
        name for name, check in checks.items() if check.result == "passed"
    }


def test_slow_answers_fail_the_latency_and_nothing_else() -> None:
    run = make_run()
    for _ in range(3):  # of some 150 in the judged phase: 2 %, where 1 % may be slow
        run.tally.answered(START_S + 10, RECOGNIZE, 0.251)
    checks = judged(run)
    assert failed(checks) == {"latency"}
    assert "came in less than 250 ms, expected 99%" in checks["latency"].reason


def test_one_slow_answer_in_two_hundred_is_within_the_objective() -> None:
    run = make_run()
    run.tally.answered(START_S + 10, RECOGNIZE, 3)
    assert failed(judged(run)) == set()


def test_overload_fails_the_availability_of_a_steady_run_and_not_of_a_step_run() -> None:
    steady, step = make_run(), make_run("step")
    for run in (steady, step):
        run.tally.failed(START_S + 10, RECOGNIZE, "Overloaded")
    assert failed(judged(steady)) == {"availability", "outcomes"}
    assert failed(judged(step)) == set()


@pytest.mark.parametrize("reason", ["ServerFault", "UnreadableImage", "ContractMismatch"])
def test_fault_fails_a_run_whatever_its_shape(reason: str) -> None:
    run = make_run("step", examples={reason: "what the server said"})
    run.tally.failed(START_S + 10, RECOGNIZE, reason)
    checks = judged(run)
    assert failed(checks) == {"outcomes"}
    assert "what the server said" in checks["outcomes"].reason


def test_bad_photo_that_is_answered_fails() -> None:
    run = make_run("step")
    run.tally.failed(START_S + 10, REFUSE, "BadPhotoAnswered")
    assert failed(judged(run)) == {"bad photos"}


def test_wrong_answer_fails() -> None:
    run = make_run("step", examples={"WrongAnswer": "a number differs"})
    run.tally.failed(START_S + 10, RECOGNIZE, "WrongAnswer")
    assert failed(judged(run)) == {"golden answers"}


def test_golden_answers_fail_when_nothing_was_compared() -> None:
    assert failed(judged(make_run(compared=0))) == {"golden answers"}


@pytest.mark.parametrize("lost", [1, -1])
def test_counts_fail_when_the_server_counted_others(lost: int) -> None:
    run = make_run()
    checks = judged(run, counters(run, lost))
    assert failed(checks) == {"counts of recognizer"}


def test_counts_pass_when_what_is_missing_may_not_have_arrived() -> None:
    run = make_run("step")
    run.tally.failed(START_S + 10, RECOGNIZE, "DeadlineExceeded")
    assert failed(judged(run, counters(run, lost=1))) == set()
    assert failed(judged(run, counters(run, lost=2))) == {"counts of recognizer"}


def test_generator_fails_when_its_loop_is_late_or_was_never_timed() -> None:
    late = judged(make_run(lags_ms=[1.0] * 90 + [40.0] * 10))
    assert failed(late) == {"generator"}
    assert "The figures are the generator's as much as the server's" in late["generator"].reason
    assert failed(judged(make_run(lags_ms=[]))) == {"generator"}


def test_run_without_calls_fails() -> None:
    empty = replace(make_run(), tally=Tally(OBJECTIVE.under_s))
    assert "objective" in failed(judged(empty, {"recognizer": 0, "searcher": 0}))


def test_bad_photos_fail_when_none_was_sent_in_many_calls() -> None:
    run = make_run()
    for cells in run.tally.seconds.values():
        del cells[REFUSE]
    assert failed(judged(run)) == {"bad photos"}


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


def test_tally_adds_up_over_processes_and_phases() -> None:
    first, second = Tally(0.25), Tally(0.25)
    for tally, latency_s in ((first, 0.1), (second, 0.4)):
        for at_s in range(10):
            tally.answered(at_s, RECOGNIZE, latency_s)
        tally.failed(3, EMBED, "Overloaded")
    second.add_json(json.loads(json.dumps(first.take_json())))
    assert first.seconds == {}
    total = second.total()
    assert (total.answered, total.within, total.failed, total.calls) == (20, 10, 2, 22)
    assert second.total([RECOGNIZE], 2, 5).answered == 6
    assert second.total([EMBED], 4, 9).calls == 0


def test_percentiles_are_within_half_a_bucket_of_the_exact_ones() -> None:
    latencies_s = np.random.default_rng(5).lognormal(-3, 0.6, 5000)
    tally = Tally(0.25)
    for latency_s in latencies_s:
        tally.answered(1, RECOGNIZE, float(latency_s))
    cell = tally.total()
    for percent in (1, 50, 90, 99):
        exact_ms = 1e3 * float(np.percentile(latencies_s, percent, method="inverted_cdf"))
        found = cell.percentile_ms(percent)
        assert found is not None
        assert abs(math.log(found / exact_ms)) <= math.log(BUCKET_RATIO) / 2 + 1e-9, percent
    assert cell.within == int((latencies_s < 0.25).sum())
    assert Tally(0.25).total().percentile_ms(99) is None


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
    run.tally.answered(START_S + 10.5, RECOGNIZE, 30)  # in the first seconds of the spike
    assert run.rows()[1]["within"] == 1
    run.tally.answered(START_S + 15.5, RECOGNIZE, 30)
    assert run.rows()[1]["within"] < 1


@pytest.mark.parametrize("arguments", [{"name": "ramp"}, {"name": "smoke", "scale": 0}, {"name": "soak", "soak_s": -1}])
def test_shape_is_refused_when_unknown_or_without_time(arguments: dict[str, Any]) -> None:
    with pytest.raises(LoadTestError, match=r"expected one of smoke|ends at once"):
        make_shape(**arguments)


def test_outcome_says_so_when_a_run_left_none(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="left no outcome"):
        read_outcome(tmp_path / "nothing.json", 0.25)


def test_objective_is_that_of_the_profile() -> None:
    assert read_objective("recognizer", "cpu").under_s == 0.25
    assert read_objective("recognizer", "gpu").under_s == 0.1
    assert read_objective("recognizer", None).availability == pytest.approx(0.999)


def test_objective_is_refused_when_the_file_says_nothing_of_the_model(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="has no objective for shelf"):
        read_objective("shelf")
    with pytest.raises(LoadTestError, match="Pass the file with --slo"):
        read_objective(file=tmp_path / "slo.yaml")
    (tmp_path / "slo.yaml").write_text("- a list\n")
    with pytest.raises(LoadTestError, match="has no objective for recognizer"):
        read_objective(file=tmp_path / "slo.yaml")


MACHINE = {"cpu": "a processor", "cores": 2, "python": "3.11"}


def made_baseline(tmp_path: Path, rates: list[float]) -> Path:
    reports = [report_of({"step.highest_per_s": rate, "smoke.p50_ms": 1e3 / rate}) for rate in rates]
    baseline.write(baseline.make_baseline(reports), tmp_path / "baseline.json")
    return tmp_path / "baseline.json"


def report_of(figures: dict[str, float], **changes: Any) -> dict[str, Any]:
    return {"machine": MACHINE, "settings": {"seed": 1}, "date": "", "commit": "", "figures": figures, **changes}


def test_baseline_calls_worse_what_is_outside_its_own_noise(tmp_path: Path) -> None:
    file = made_baseline(tmp_path, [50, 51, 49, 50.5, 49.5])

    def results(rate: float, p50_ms: float) -> list[str]:
        found = baseline.compare({"step.highest_per_s": rate, "smoke.p50_ms": p50_ms}, MACHINE, {"seed": 1}, file)
        return [check.result for check in found]

    assert results(50, 20) == ["passed", "passed"]
    assert results(48, 20.8) == ["passed", "passed"]
    assert results(45, 20) == ["failed", "passed"]
    assert results(50, 23) == ["passed", "failed"]
    assert results(90, 9) == ["passed", "passed"]


def test_baseline_says_nothing_when_its_own_runs_differ_too_much(tmp_path: Path) -> None:
    file = made_baseline(tmp_path, [50, 25, 40])
    found = baseline.compare({"step.highest_per_s": 40}, MACHINE, {"seed": 1}, file)
    assert [check.result for check in found] == ["skipped"]
    assert "Its runs differ too much to tell" in found[0].reason
    worse = baseline.compare({"step.highest_per_s": 0.5}, MACHINE, {"seed": 1}, file)
    assert [check.result for check in worse] == ["failed"]


def test_baseline_calls_one_in_a_hundred_worse_that_is_not(tmp_path: Path) -> None:
    """The band is a prediction bound: over many baselines of five runs, 1 % of sixth runs are outside."""
    draw, outside, tries = np.random.default_rng(11), 0, 4000
    for _ in range(tries):
        *runs, sixth = np.exp(draw.normal(4, 0.1, 6))
        made = baseline.make_baseline([report_of({"a_per_s": float(rate)}) for rate in runs])
        outside += bool(sixth < made["limits"]["a_per_s"])
    # Five standard deviations of a binomial around 1 %.
    assert abs(outside - 0.01 * tries) < 5 * math.sqrt(0.01 * tries)


def test_baseline_is_skipped_when_machine_or_settings_are_others(tmp_path: Path) -> None:
    file = made_baseline(tmp_path, [50, 51, 49])
    figures = {"step.highest_per_s": 1.0}
    for machine, settings in (({**MACHINE, "cores": 4}, {"seed": 1}), (MACHINE, {"seed": 2})):
        (check,) = baseline.compare(figures, machine, settings, file)
        assert check.result == "skipped"
    (check,) = baseline.compare({"soak.p50_ms": 1.0}, MACHINE, {"seed": 1}, file)
    assert check.result == "skipped"


def test_baseline_is_refused_when_too_few_runs_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="needs 3 runs at least, got 2"):
        made_baseline(tmp_path, [50, 51])
    with pytest.raises(LoadTestError, match="no report of runs"):
        baseline.make_baseline([{}, {}, {}])
    with pytest.raises(LoadTestError, match="different machines or settings"):
        baseline.make_baseline([report_of({}), report_of({}), report_of({}, settings={"seed": 2})])
    with pytest.raises(LoadTestError, match="as a baseline"):
        baseline.compare({}, MACHINE, {}, tmp_path / "nothing.json")


def test_calls_that_end_after_the_break_make_no_phase() -> None:
    run = make_run("breakpoint", phases_reached=2)
    assert [row["users"] for row in run.rows()] == [2, 8]
