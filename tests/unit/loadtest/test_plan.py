"""The arithmetic against formulas and books, the simulation against the arithmetic."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest.__main__ import main
from loadtest.capacity import MOST_BUSY, Replica, answer_times, erlang_c, highest_rate, plan
from loadtest.errors import LoadTestError
from loadtest.fleet import Autoscaler, Batching, Fleet
from loadtest.plan_command import CURVE as CURVE_FILE
from loadtest.plan_command import batching_of, read_curve

TWO = Replica(instances=2, service_s=0.02, cv=0.3, alone_s=0.02)


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
def test_erlang_c_is_that_of_the_books(servers: int, offered: float, expected: float) -> None:
    assert erlang_c(servers, offered) == pytest.approx(expected, abs=1e-9)


def test_m_m_1_quantiles_are_exact() -> None:
    """Of M/M/1 the time in the system is exponential; a lognormal service with cv = 1 comes near that, not on it."""
    lone = Replica(instances=1, service_s=0.01, cv=1.0, alone_s=0.01)
    answer = answer_times(lone, 80)
    assert answer.waits == pytest.approx(0.8)
    assert answer.wait_s == pytest.approx(0.05)  # 1 / (mu - lambda)
    exact_p99_s = math.log(100) / (100 - 80)
    assert answer.p99_s == pytest.approx(exact_p99_s, rel=0.05)


def test_m_d_1_mean_wait_is_exact() -> None:
    """Pollaczek and Khinchine: rho S / (2 (1 - rho)) over all photos; the formula gives it for those that wait."""
    lone = Replica(instances=1, service_s=0.01, cv=0.0, alone_s=0.01)
    answer = answer_times(lone, 80)
    assert answer.waits * answer.wait_s == pytest.approx(0.8 * 0.01 / (2 * 0.2))


def test_idle_replica_takes_its_service_time_alone() -> None:
    answer = answer_times(TWO, 0.01)
    assert answer.waits < 1e-6
    sigma = math.sqrt(math.log(1.09))
    assert answer.p50_s == pytest.approx(0.02 * math.exp(-(sigma**2) / 2), rel=0.01)


def test_lone_photo_has_all_cores_to_itself() -> None:
    """Idle, the time of a lone photo; with every instance busy, c / capacity: by arithmetic and by simulation."""
    shared = Replica(instances=2, service_s=0.04, cv=0.0, alone_s=0.02)
    assert answer_times(shared, 0.01).p50_s == pytest.approx(0.02, rel=0.01)
    batching = batching_of(shared, CURVE)
    assert batching.lone_s == 0.02
    idle = Fleet(batching, lambda _: 1.0, seed=1).run(300)
    assert idle.percentile_ms(50) == pytest.approx(20, rel=0.01)
    busy = Fleet(batching, lambda _: 500.0, seed=1).run(20)
    assert len(busy.latencies) / 20 == pytest.approx(shared.capacity, rel=0.05)


def test_times_rise_with_the_rate_and_are_infinite_from_the_capacity_on() -> None:
    rates = np.linspace(20, 99, 25)
    times_s = [answer_times(TWO, float(rate)).p99_s for rate in rates]
    assert all(later > earlier for earlier, later in pairwise(times_s))
    assert answer_times(TWO, TWO.capacity).p99_s == math.inf


def test_plan_is_the_fewest_replicas_that_hold_and_those_to_lose() -> None:
    made = plan(TWO, 3000, 0.1, spare=1)
    needed = made.replicas - 1 if made.replicas else 0
    assert made.answer is not None
    assert made.answer.p99_s <= 0.1
    assert made.answer.busy <= MOST_BUSY
    fewer = answer_times(TWO, 3000 / (needed - 1))
    assert fewer.p99_s > 0.1 or fewer.busy > MOST_BUSY
    assert plan(TWO, 3000, 0.1, spare=4).replicas == needed + 4


def test_tight_bound_needs_more_than_the_capacity_does_and_an_impossible_one_has_no_number() -> None:
    tight = plan(TWO, 3000, 0.045)
    assert tight.by_latency is not None
    assert tight.by_latency > tight.by_capacity
    assert highest_rate(TWO, 0.02) is None
    assert plan(TWO, 3000, 0.02).replicas is None


@pytest.mark.parametrize("busy", [0.3, 0.6, 0.8])
def test_simulation_without_batches_agrees_with_the_arithmetic(busy: float) -> None:
    sigma = math.sqrt(math.log(1 + TWO.cv**2))
    single = Batching(2, fixed_s=0.0, photo_s=0.02, most=1, sigma=sigma)
    rate = busy * TWO.capacity
    record = Fleet(single, lambda _: rate * 4, replicas=4, sample=4, seed=2).run(400)
    answer = answer_times(TWO, rate)
    # Some 60,000 to 130,000 photos: the p99 of the simulation is good to 2 %. The rest is the formula's approximation.
    assert record.percentile_ms(50, 10) == pytest.approx(answer.p50_s * 1e3, rel=0.08)
    assert record.percentile_ms(99, 10) == pytest.approx(answer.p99_s * 1e3, rel=0.12)


def test_sample_stands_for_the_fleet() -> None:
    batching = Batching(2, 0.005, 0.015, 8, 0.2)
    few, many = (
        Fleet(batching, lambda _: 4800, replicas=64, sample=sample, seed=4).run(25).percentile_ms(99, 5)
        for sample in (8, 64)
    )
    assert few == pytest.approx(many, rel=0.1)  # 12,000 photos against 96,000


def test_batches_carry_more_where_a_run_has_a_fixed_cost() -> None:
    """100 photos/s are 1.2 times what one by one can do, and half of what full runs can."""
    one_by_one, in_runs = (Batching(1, 0.01, 0.002, most, 0.1) for most in (1, 8))
    rate = 1.2 * one_by_one.capacity
    drowned, fine = (
        Fleet(batching, lambda _: rate, replicas=1, sample=1, seed=1).run(120).percentile_ms(50, 60)
        for batching in (one_by_one, in_runs)
    )
    assert drowned > 3000
    assert fine < 60


def test_autoscaler_follows_the_rate_up_and_later_down() -> None:
    batching = Batching(2, 0.0, 0.02, 4, 0.2)

    def rate_at(at_s: float) -> float:
        return 200.0 if at_s < 120 else 2000.0 if at_s < 700 else 200.0

    scaler = Autoscaler(target=1.2, hold_s=120)
    record = Fleet(batching, rate_at, scaler=scaler, replicas=4, seed=1).run(1800)
    count_at = {int(at_s): count for at_s, count, _ in record.replicas}
    assert count_at[119] <= 8
    # 2,000 photos/s are 40 Erlang on 2 instances each: 20 replicas at the least.
    assert 22 <= count_at[690] <= 80
    assert count_at[1795] <= 10
    assert record.percentile_ms(99, 600, 700) < 250
    # Nobody can start a replica before the rate rises: photos wait in between.
    assert record.percentile_ms(99, 120, 150) > 250


CURVE: dict[str, Any] = {
    "machine": {"cpu": "a processor", "cores": 2}, "profile": "cpu", "photos": "640x480", "date": "2026-11-28",
    "commit": "abc", "instances": 2, "photos_per_run": 8, "offline_per_s": 80.0,
    "alone": {"served_mean_ms": 20.0, "served_p50_ms": 19.0, "served_p99_ms": 38.0},
    "trials": [{"rate": 40.0, "p50_ms": 26.0, "p99_ms": 80.0}],
}  # fmt: skip


def test_replica_is_read_from_a_curve() -> None:
    replica = Replica.from_curve(CURVE)
    assert (replica.instances, replica.service_s, replica.alone_s) == (2, 0.025, 0.02)
    assert replica.cv == pytest.approx(math.sqrt(math.exp((math.log(2) / 2.326) ** 2) - 1))
    with pytest.raises(LoadTestError, match="This is no curve"):
        Replica.from_curve({"alone": {}})


def test_fixed_cost_of_a_run_is_what_full_runs_save() -> None:
    saves = batching_of(Replica(2, service_s=0.01, cv=0.2, alone_s=0.03), CURVE)
    # 0.03 = fixed + photo; 8 x 0.01 = fixed + 8 photo
    assert saves.fixed_s == pytest.approx(0.03 - 0.05 / 7)
    assert saves.photo_s == pytest.approx(0.05 / 7)
    assert saves.capacity == pytest.approx(2 / 0.01)
    none = batching_of(Replica(2, service_s=0.025, cv=0.2, alone_s=0.02), CURVE)
    assert none.fixed_s == 0
    assert none.capacity == pytest.approx(2 / 0.025)


def test_command_plans_from_a_file_without_a_server(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "curve.json").write_text(json.dumps(CURVE))
    files = {name: tmp_path / f"plan.{name}" for name in ("json", "png")}
    words = ["plan", "--rate", "3000", "--p99", "0.2", "--curve", str(tmp_path / "curve.json"), "--peak", "6000"]
    assert main([*words, "--json", str(files["json"]), "--chart", str(files["png"])]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "nothing of this was measured on a GPU" in said
    assert "by capacity: n = ceil(rate / (capacity x 0.85)) = ceil(3000 / (80.0 x 0.85)) = 45" in said
    report = json.loads(files["json"].read_text())
    assert report["plan"]["by_capacity"] == 45
    assert report["checks"][0]["simulation"]["p99_ms"] > report["checks"][0]["simulation"]["p50_ms"] > 0
    assert report["fleet"]["replicas_at_end"] > report["plan"]["replicas"]
    assert files["png"].read_bytes().startswith(b"\x89PNG")


def test_committed_curve_is_of_a_cpu_and_the_plan_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    curve = read_curve(CURVE_FILE)
    assert curve["profile"] == "cpu"
    assert "cpu" in CURVE_FILE.name
    assert f"{curve['machine']['cores']}-cores" in CURVE_FILE.name
    assert "dirty" not in curve["commit"]
    main(["plan", "--rate", "3000", "--p99", "1", "--no-simulation"])
    said = " ".join(capsys.readouterr().out.split())
    assert f"{curve['machine']['cpu']}, {curve['machine']['cores']} cores, profile cpu" in said
    assert "nothing of this was measured on a GPU" in said
    assert ("The machine did other work meanwhile" in said) == (curve["load_before"] > curve["machine"]["cores"])


@pytest.mark.parametrize(
    ("words", "exit_code", "sentence"),
    [
        (["--rate", "0", "--p99", "0.1"], 2, "0 is no use; expected more than 0"),
        (["--rate", "100"], 2, "the following arguments are required: --p99"),
        (["--rate", "100", "--p99", "0.1", "--curve", "/nowhere"], 1, "Cannot read /nowhere as a curve"),
        (["--rate", "100", "--p99", "0.1", "--curve", "{empty}"], 1, "is no curve: it has no commit"),
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


def test_command_ends_with_1_when_no_number_of_replicas_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "curve.json").write_text(json.dumps(CURVE))
    words = ["plan", "--rate", "100", "--p99", "0.01", "--curve", str(tmp_path / "curve.json"), "--no-simulation"]
    assert main(words) == 1
    assert "No number of replicas mends that" in " ".join(capsys.readouterr().out.split())
