"""The search for the peak, on servers that are formulas; what LoadGen writes, as it writes it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.loadgen_process import read_summary
from loadtest.loadgen_settings import Settings
from loadtest.objectives import Objective
from loadtest.open_model import OpenRun, Trial, find_peak, read_run

OBJECTIVE = Objective("recognizer", availability=0.999, fast_share=0.99, under_s=0.25)
RUN = OpenRun("Server", 20.0, 10, 200, 20.0, 60, 90, 120, 1.0, 0.5, 60, 58, 118, {})


def trial_of(rate: float, duration_s: float, p99_ms: float) -> Trial:
    run = replace(RUN, rate=rate, duration_s=duration_s, p99_ms=p99_ms)
    return Trial(run, run.misses(OBJECTIVE))


@pytest.mark.parametrize("true_peak", [7.0, 31.0, 52.0, 59.0])
def test_peak_is_found_by_bisection(true_peak: float) -> None:
    trials = list(find_peak(lambda rate, s: trial_of(rate, s, 249 if rate <= true_peak else 251), 60, 10, tries=7))
    assert len(trials) == 8
    name, last = trials[-1]
    assert (name, last.missed, last.run.duration_s) == ("confirmed", None, 20)
    # After seven tries what is left between the highest that held and the lowest that did not is 60 / 2^6 at most.
    assert true_peak - 60 / 2**6 <= last.run.rate <= true_peak


def test_peak_steps_down_when_the_highest_was_lucky() -> None:
    def lucky(rate: float, duration_s: float) -> Trial:
        return trial_of(rate, duration_s, 249 if rate <= (40 if duration_s == 10 else 33) else 251)

    names = [name for name, _ in find_peak(lucky, 60, 10, tries=6)]
    assert names[-3:] == ["not confirmed", "not confirmed", "confirmed"]


def test_peak_ends_when_nothing_holds() -> None:
    trials = list(find_peak(lambda rate, s: trial_of(rate, s, 900), 60, 10, tries=4))
    assert len(trials) == 8
    assert trials[-1][1].missed == "p99 900 ms, expected less than 250"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, None),
        ({"p99_ms": 250.0}, "p99 250 ms, expected less than 250"),
        ({"failures": {"Overloaded": 1}}, "1 Overloaded of 200"),
        ({"lag_p99_ms": 30.0}, "the generator was late: p99 of its own lag 30 ms"),
        ({"loadgen_lag_ms": 26.0}, "LoadGen's mean 26 ms, expected 25"),
    ],
)
def test_run_misses_the_objective_for_a_reason(changes: dict[str, object], sentence: str | None) -> None:
    missed = replace(RUN, **changes).misses(OBJECTIVE)  # type: ignore[arg-type]
    assert missed == sentence or (sentence is not None and missed is not None and sentence in missed)


def test_one_failure_of_a_thousand_is_within_the_objective() -> None:
    assert replace(RUN, photos=1000, failures={"Overloaded": 1}).misses(OBJECTIVE) is None
    assert replace(RUN, photos=999, failures={"Overloaded": 1}).misses(OBJECTIVE) is not None


SUMMARY = """\
================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : Server
Mode     : PerformanceOnly
Completed samples per second    : 15.83
Result is : INVALID
50.00 percentile latency (ns)   : 163735693
90.00 percentile latency (ns)   : 427037281
99.00 percentile latency (ns)   : 615245172
Mean latency (ns)               : 224435361
"""


def test_summary_of_loadgen_is_read_in_milliseconds(tmp_path: Path) -> None:
    (tmp_path / "summary.txt").write_text(SUMMARY)
    assert read_summary(tmp_path / "summary.txt") == {
        "p50_ms": 163.735693,
        "p90_ms": 427.037281,
        "p99_ms": 615.245172,
        "mean_ms": 224.435361,
        "completed_per_s": 15.83,
        "result": "INVALID",
    }
    (tmp_path / "other.txt").write_text("nothing : here\n")
    with pytest.raises(KeyError, match="no percentiles"):
        read_summary(tmp_path / "other.txt")


def test_lag_of_loadgen_is_what_the_calls_do_not_explain() -> None:
    settings = Settings("Server", "", "", 10, 15, 0.25, 0.99, 0, 1)
    said = {
        "settings": vars(settings), "photos": 99, "elapsed_s": 10, "failures": {},
        "summary": {"p50_ms": 160, "p90_ms": 400, "p99_ms": 600, "mean_ms": 224.4},
        "lags_ms": {"p99": 0.4, "mean": 0.2}, "served_ms": {"mean": 200, "p50": 150, "p99": 560},
    }  # fmt: skip
    run = read_run(said)
    assert run.loadgen_lag_ms == pytest.approx(24.2)
    assert (run.rate, run.completed_per_s) == (15, 9.9)
    assert read_run({**said, "settings": {**vars(settings), "scenario": "Offline"}}).loadgen_lag_ms == 0
