"""The queueing model against what queueing theory says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from loadtest.__main__ import main
from loadtest.scale import Costs, closed_loop_rate, forecast, latencies_ms

COSTS = Costs(instance_ms=9.5, front_ms=0.5, client_ms=1.0, spread=0.1, instance_mb=150)


def test_latency_is_the_service_time_when_nobody_waits() -> None:
    latencies = latencies_ms(COSTS, cores=4, rate=1)
    assert float(np.mean(latencies)) == pytest.approx(10, rel=0.01)


def test_mean_wait_is_that_of_pollaczek_and_khinchine_on_one_core() -> None:
    # M/G/1 at 60 %: wait = load x service x (1 + cv^2) / 2 / (1 - load).
    load, service_ms = 0.6, 10.0
    variation = np.exp(COSTS.spread**2) - 1
    expected_ms = service_ms + load * service_ms * (1 + variation) / 2 / (1 - load)
    assert float(np.mean(latencies_ms(COSTS, cores=1, rate=60))) == pytest.approx(expected_ms, rel=0.05)


def test_capacity_grows_with_cores_and_the_objective_is_held_below_it() -> None:
    small, large = forecast(COSTS, 2), forecast(COSTS, 16)
    assert small.capacity == pytest.approx(200)
    assert large.capacity == pytest.approx(1600)
    for it in (small, large):
        assert 0.7 * it.capacity < it.rate_in_objective < it.capacity
    assert large.p99_ms < small.p99_ms
    assert large.front_busy == pytest.approx(1600 * 0.5e-3 / 2)


def test_generator_on_the_same_machine_takes_its_share() -> None:
    assert closed_loop_rate(COSTS, 2) == pytest.approx(2e3 / 11)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "as a report"), ("no json", "as a report"), ('{"scenarios": {"c1": {}}}', "has no scenario c16")],
)
def test_scale_says_what_is_wrong_with_a_report(
    content: str | None, sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    assert main(["scale", str(tmp_path / "report.json")]) == 1
    assert sentence in capsys.readouterr().err
