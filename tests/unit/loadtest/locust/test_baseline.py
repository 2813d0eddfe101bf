"""Baselines of repeated runs, and figures compared with them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.cli import locust_command
from loadtest.cli.main import make_parser
from loadtest.errors import LoadTestError
from loadtest.files import BASELINE_FILE, write_json
from loadtest.locust import baseline

MACHINE = {"cpu": "a processor", "cores": 2, "python": "3.11"}


def made_baseline(tmp_path: Path, rates: list[float]) -> Path:
    reports = [report_of({"step.highest_per_s": rate, "smoke.p50_ms": 1e3 / rate}) for rate in rates]
    write_json(baseline.make_baseline(reports), tmp_path / "baseline.json")
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
    assert "Its runs differ too much" in found[0].reason
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


def test_baseline_is_refused_when_a_release_with_other_settings_wrote_it(tmp_path: Path) -> None:
    file = made_baseline(tmp_path, [50, 51, 49])
    with pytest.raises(LoadTestError, match=r"baseline of another release: its settings are seed, expected transport"):
        baseline.compare({"step.highest_per_s": 50}, MACHINE, {"transport": "both"}, file)


def test_committed_baseline_has_the_settings_of_this_release() -> None:
    options = make_parser().parse_args(["locust"])
    committed = baseline.read_baseline(BASELINE_FILE)
    (check,) = baseline.compare({}, committed["machine"], locust_command._settings(options), BASELINE_FILE)
    assert check.reason.startswith("The baseline has smoke.answers_per_s")


def test_baseline_is_refused_when_too_few_runs_or_no_file(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="needs 3 runs or more, got 2"):
        made_baseline(tmp_path, [50, 51])
    with pytest.raises(LoadTestError, match="is not a report of runs"):
        baseline.make_baseline([{}, {}, {}])
    with pytest.raises(LoadTestError, match="different machines or settings"):
        baseline.make_baseline([report_of({}), report_of({}), report_of({}, settings={"seed": 2})])
    with pytest.raises(LoadTestError, match=r"Cannot read .*nothing\.json as a report"):
        baseline.compare({}, MACHINE, {}, tmp_path / "nothing.json")
    write_json([1], tmp_path / "list.json")
    with pytest.raises(LoadTestError, match="is not a baseline"):
        baseline.read_baseline(tmp_path / "list.json")
