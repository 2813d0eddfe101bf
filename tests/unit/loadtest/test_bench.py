"""The arithmetic of the bench, on turns made by hand."""

from __future__ import annotations

import itertools

import pytest

from loadtest.bench import Contestant, Scenario
from loadtest.driver import Turn
from loadtest.photos import never_alike


def contestant(name: str, rates: list[float], latencies_s: list[float], is_ceiling: bool = False) -> Contestant:
    turns = [Turn(rate, latencies_s, client_cpu_ms=0.5) for rate in rates]
    return Contestant(name, lambda duration_s: turns[0], is_ceiling, turns)


def test_scenario_takes_the_best_ceiling() -> None:
    slow, fast = contestant("slow", [90, 90], [0.01], True), contestant("fast", [100, 100], [0.04], True)
    assert Scenario("by rate", [slow, fast]).ceiling is fast
    assert Scenario("by latency", [slow, fast], by_latency=True).ceiling is slow


def test_ratios_are_paired_by_round() -> None:
    ceiling, served = contestant("ceiling", [100, 200], [0.01], True), contestant("served", [90, 190], [0.02])
    scenario = Scenario("pairs", [ceiling, served])
    assert scenario.ratios(served, ceiling) == [0.9, 0.95]
    row = scenario.rows()[1]
    assert (row["ratio_to_ceiling"], row["ratio_min"], row["ratio_max"]) == (0.925, 0.9, 0.95)
    assert (row["photos_per_s"], row["p50_ms"], row["client_cpu_ms"], row["server_cpu_ms"]) == (140, 20, 0.5, None)


def test_latency_ratio_is_of_medians() -> None:
    ceiling = contestant("ceiling", [1], [0.010, 0.011, 0.500], True)
    served = contestant("served", [1], [0.020, 0.022, 0.023])
    assert Scenario("one", [ceiling, served], by_latency=True).ratios(served, ceiling) == pytest.approx([2.0])


def test_photos_are_never_alike_even_between_two_senders() -> None:
    photos = [b"one", b"two"]
    sent = [*itertools.islice(never_alike(photos), 50), *itertools.islice(never_alike(photos), 50)]
    assert len(set(sent)) == 100
    assert {photo[:3] for photo in sent} == {b"one", b"two"}
