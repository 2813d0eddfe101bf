"""The queueing model against formulas of the literature, and the command `plan`."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.capacity.curve import read_curve
from loadtest.capacity.queueing import MOST_BUSY, Replica, erlang_c, highest_rate, plan, predict
from loadtest.cli.main import main
from loadtest.errors import LoadTestError
from loadtest.files import CURVE_FILE

TWO = Replica(instances=2, service_s=0.02, cv=0.3, single_s=0.02)


@pytest.mark.parametrize(
    ("servers", "offered", "expected"),
    [
        (1, 0.5, 0.5),  # M/M/1: rho
        (2, 1.0, 1 / 3),  # M/M/2: 2 rho^2 / (1 + rho)
        # Kleinrock's sum by hand for c = 5, a = 4: (4^5/5!) 5/(5-4) / (sum a^k/k! up to 4 + that).
        (5, 4.0, (4**5 / 120 * 5) / (sum(4**k / math.factorial(k) for k in range(5)) + 4**5 / 120 * 5)),
        (10, 1e-9, 0.0),
    ],
)
def test_erlang_c_equals_that_of_the_literature(servers: int, offered: float, expected: float) -> None:
    assert erlang_c(servers, offered) == pytest.approx(expected, abs=1e-9)


def test_m_m_1_quantiles_are_exact() -> None:
    """Of M/M/1 the time in the system is exponential; a lognormal service with cv = 1 comes near that, not on it."""
    single = Replica(instances=1, service_s=0.01, cv=1.0, single_s=0.01)
    found = predict(single, 80)
    assert found.waiting_share == pytest.approx(0.8)
    assert found.wait_s == pytest.approx(0.05)  # 1 / (mu - lambda)
    exact_p99_s = math.log(100) / (100 - 80)
    assert found.p99_s == pytest.approx(exact_p99_s, rel=0.05)


def test_m_d_1_mean_wait_is_exact() -> None:
    """Pollaczek and Khinchine: rho S / (2 (1 - rho)) over all photos; the formula gives it for those that wait."""
    single = Replica(instances=1, service_s=0.01, cv=0.0, single_s=0.01)
    found = predict(single, 80)
    assert found.waiting_share * found.wait_s == pytest.approx(0.8 * 0.01 / (2 * 0.2))


def test_idle_replica_has_the_latency_of_single_requests() -> None:
    found = predict(TWO, 0.01)
    assert found.waiting_share < 1e-6
    sigma = math.sqrt(math.log(1.09))
    assert found.p50_s == pytest.approx(0.02 * math.exp(-(sigma**2) / 2), rel=0.01)


def test_mean_service_time_grows_from_that_of_single_requests_to_the_busy_one() -> None:
    """Idle: the latency of a single request; at the capacity: c / capacity."""
    shared = Replica(instances=2, service_s=0.04, cv=0.0, single_s=0.02)
    assert predict(shared, 0.01).p50_s == pytest.approx(0.02, rel=0.01)
    assert predict(shared, 0.99 * shared.capacity).p50_s > 0.0396


def test_times_rise_with_the_rate_and_are_infinite_from_the_capacity_on() -> None:
    rates = np.linspace(20, 99, 25)
    times_s = [predict(TWO, float(rate)).p99_s for rate in rates]
    assert all(later > earlier for earlier, later in pairwise(times_s))
    assert predict(TWO, TWO.capacity).p99_s == math.inf


def test_plan_is_the_fewest_replicas_that_hold_and_those_to_lose() -> None:
    made = plan(TWO, 3000, 0.1, spare=1)
    needed = made.replicas - 1 if made.replicas else 0
    assert made.prediction is not None
    assert made.prediction.p99_s <= 0.1
    assert made.prediction.utilization <= MOST_BUSY
    fewer = predict(TWO, 3000 / (needed - 1))
    assert fewer.p99_s > 0.1 or fewer.utilization > MOST_BUSY
    assert plan(TWO, 3000, 0.1, spare=4).replicas == needed + 4


def test_tight_bound_needs_more_than_the_capacity_does_and_an_impossible_one_has_no_number() -> None:
    tight = plan(TWO, 3000, 0.045)
    assert tight.by_latency is not None
    assert tight.by_latency > tight.by_capacity
    assert highest_rate(TWO, 0.02) is None
    assert plan(TWO, 3000, 0.02).replicas is None


CURVE: dict[str, Any] = {
    "machine": {"cpu": "a processor", "cores": 2}, "profile": "cpu", "photos": "640x480", "date": "2026-11-28",
    "commit": "abc", "instances": 2, "capacity_per_s": 80.0,
    "single": {"mean_ms": 20.0, "p50_ms": 19.0, "p99_ms": 38.0},
    "trials": [{"rate": 40.0, "p50_ms": 26.0, "p99_ms": 80.0}],
}  # fmt: skip


def test_replica_is_read_from_a_curve(tmp_path: Path) -> None:
    (tmp_path / "curve.json").write_text(json.dumps(CURVE))
    curve, replica = read_curve(tmp_path / "curve.json")
    assert curve == CURVE
    assert (replica.instances, replica.service_s, replica.single_s) == (2, 0.025, 0.02)
    assert replica.cv == pytest.approx(math.sqrt(math.exp((math.log(2) / 2.326) ** 2) - 1))
    changes: list[dict[str, Any]] = [{"single": {}}, {"capacity_per_s": 0}, {"instances": None}]
    for changed in changes:
        (tmp_path / "other.json").write_text(json.dumps(CURVE | changed))
        with pytest.raises(LoadTestError, match="is not a curve of this release"):
            read_curve(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("words", "exit_code", "sentence"),
    [
        (["--rate", "0", "--p99", "0.1"], 2, "got 0, expected more than 0"),
        (["--rate", "100"], 2, "the following arguments are required: --p99"),
        (["--rate", "100", "--p99", "0.1", "--curve", "/nowhere"], 1, "Cannot read /nowhere as a report"),
        (
            ["--rate", "100", "--p99", "0.1", "--curve", "{empty}"],
            1,
            "is not a curve of this release (KeyError('capacity_per_s', ",
        ),
    ],
)
def test_command_says_what_is_wrong(
    words: list[str], exit_code: int, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.json").write_text("{}")
    filled = [word.format(empty=tmp_path / "empty.json") for word in words]
    try:
        code = main(["plan", *filled])
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == exit_code
    assert sentence in capsys.readouterr().err


def test_command_plans_from_a_file_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "curve.json").write_text(json.dumps(CURVE))
    files = {name: tmp_path / f"plan.{name}" for name in ("json", "png")}
    words = ["plan", "--rate", "3000", "--p99", "0.2", "--curve", str(tmp_path / "curve.json")]
    assert main([*words, "--json", str(files["json"]), "--chart", str(files["png"])]) == 0
    output = " ".join(capsys.readouterr().out.split())
    assert "The curve is of a CPU; it does not apply to a GPU." in output
    assert "by capacity: n = ceil(rate / (capacity x 0.85)) = ceil(3000 / (80.0 x 0.85)) = 45" in output
    report = json.loads(files["json"].read_text())
    assert report["plan"]["by_capacity"] == 45
    (point,) = report["checks"]
    assert point["measured"] == {"p50_ms": 26.0, "p99_ms": 80.0}
    assert point["predicted"]["p99_ms"] > point["predicted"]["p50_ms"] > 0
    errors = [abs(point["predicted"][name] / point["measured"][name] - 1) for name in ("p50_ms", "p99_ms")]
    assert report["errors"] == {"mean": pytest.approx(sum(errors) / 2), "largest": max(errors), "figures": 2}
    assert files["png"].read_bytes().startswith(b"\x89PNG")


def test_options_of_the_removed_simulation_warn_and_change_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["plan", "--rate", "3000", "--p99", "1"]
    assert main(words) == 0
    expected = capsys.readouterr().out
    assert main([*words, "--no-simulation", "--peak", "6000", "--seed", "4"]) == 0
    output = capsys.readouterr()
    assert output.out == expected
    assert (
        "warning: --no-simulation is deprecated and will be removed in the next release: it has no effect" in output.err
    )


def test_committed_curve_is_of_a_cpu_and_the_plan_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    curve, _ = read_curve(CURVE_FILE)
    assert curve["profile"] == "cpu"
    assert "cpu" in CURVE_FILE.name
    assert f"{curve['machine']['cores']}-cores" in CURVE_FILE.name
    assert "dirty" not in curve["commit"]
    main(["plan", "--rate", "3000", "--p99", "1"])
    output = " ".join(capsys.readouterr().out.split())
    assert f"{curve['machine']['cpu']}, {curve['machine']['cores']} cores" in output
    assert "profile cpu" in output
    assert "The curve is of a CPU" in output
    assert ("Measure the curve again on an idle machine" in output) == (
        curve["load_before"] > curve["machine"]["cores"]
    )


def test_command_ends_with_1_when_no_number_of_replicas_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "curve.json").write_text(json.dumps(CURVE))
    words = ["plan", "--rate", "100", "--p99", "0.01", "--curve", str(tmp_path / "curve.json")]
    assert main(words) == 1
    assert "No number of replicas meets the bound" in " ".join(capsys.readouterr().out.split())
