"""The arithmetic of the bench, on constructed measurements."""

from __future__ import annotations

import itertools

import pytest
from rich.progress import Progress

from loadtest.bench.closed_loop import Measure, Measurement
from loadtest.bench.scenario import Scenario, Variant
from loadtest.traffic.corpus import unique_photos


def variant(name: str, rates: list[float], latencies_s: list[float], is_in_process: bool = False) -> Variant:
    measurements = [Measurement(rate, latencies_s, client_cpu_ms=0.5) for rate in rates]
    return Variant(name, lambda duration_s: measurements[0], is_in_process, measurements)


def test_scenario_takes_the_best_in_process_baseline() -> None:
    slow, fast = variant("slow", [90, 90], [0.01], True), variant("fast", [100, 100], [0.04], True)
    assert Scenario("by rate", [slow, fast]).best_in_process is fast
    assert Scenario("by latency", [slow, fast], by_latency=True).best_in_process is slow


def test_ratios_are_paired_by_round() -> None:
    baseline, served = variant("in process", [100, 200], [0.01], True), variant("served", [90, 190], [0.02])
    scenario = Scenario("pairs", [baseline, served])
    assert scenario.ratios(served, baseline) == [0.9, 0.95]
    row = scenario.rows()[1]
    assert (row["ratio_to_in_process"], row["ratio_min"], row["ratio_max"]) == (0.925, 0.9, 0.95)
    assert (row["photos_per_s"], row["p50_ms"], row["client_cpu_ms"], row["server_cpu_ms"]) == (140, 20, 0.5, None)


def test_order_is_drawn_for_each_round_and_equal_for_one_seed() -> None:
    def order_of(seed: int) -> list[str]:
        took: list[str] = []

        def take(name: str) -> Measure:
            return lambda duration_s: took.append(name) or Measurement(1, [0.1])  # type: ignore[func-returns-value]

        scenario = Scenario("order", [Variant(name, take(name)) for name in "abcdef"])
        with Progress(disable=True) as progress:
            scenario.run(3, 1, progress, seed)
        return took[::2]  # each measurement follows a warm-up

    assert order_of(1) == order_of(1) != order_of(2)
    rounds = [order_of(1)[start : start + 6] for start in (0, 6, 12)]
    assert all(sorted(names) == list("abcdef") for names in rounds)
    assert rounds[0] != rounds[1]


def test_stages_are_medians_over_rounds_where_they_were_read() -> None:
    measurements = [Measurement(1, [0.1], stages_ms={"queue": ms}) for ms in (1.0, 9.0, 2.0)]
    assert Variant("asked", lambda duration_s: measurements[0], measurements=measurements).stages_ms() == {"queue": 2.0}
    assert (
        Variant("not asked", lambda duration_s: measurements[0], measurements=[Measurement(1, [0.1])]).stages_ms()
        is None
    )


def test_latency_ratio_is_of_medians() -> None:
    baseline = variant("in process", [1], [0.010, 0.011, 0.500], True)
    served = variant("served", [1], [0.020, 0.022, 0.023])
    assert Scenario("one", [baseline, served], by_latency=True).ratios(served, baseline) == pytest.approx([2.0])


def test_photos_are_unique_even_between_two_streams() -> None:
    photos = [b"one", b"two"]
    sent = [*itertools.islice(unique_photos(photos), 50), *itertools.islice(unique_photos(photos), 50)]
    assert len(set(sent)) == 100
    assert {photo[:3] for photo in sent} == {b"one", b"two"}
