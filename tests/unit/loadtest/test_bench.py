"""The arithmetic of the bench, on turns made by hand."""

from __future__ import annotations

import itertools

import pytest
from rich.progress import Progress

from loadtest.bench import Contestant, Scenario, TakeTurn
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


def test_rounds_are_in_an_order_of_their_own_and_the_same_for_one_seed() -> None:
    def order_of(seed: int) -> list[str]:
        took: list[str] = []

        def take(name: str) -> TakeTurn:
            return lambda duration_s: took.append(name) or Turn(1, [0.1])  # type: ignore[func-returns-value]

        scenario = Scenario("order", [Contestant(name, take(name)) for name in "abcdef"])
        with Progress(disable=True) as progress:
            scenario.run(3, 1, progress, seed)
        return took[::2]  # every turn is warmed up for

    assert order_of(1) == order_of(1) != order_of(2)
    rounds = [order_of(1)[start : start + 6] for start in (0, 6, 12)]
    assert all(sorted(names) == list("abcdef") for names in rounds)
    assert rounds[0] != rounds[1]


def test_stages_are_medians_over_rounds_where_triton_was_asked() -> None:
    turns = [Turn(1, [0.1], stages_ms={"queue": ms}) for ms in (1.0, 9.0, 2.0)]
    assert Contestant("asked", lambda duration_s: turns[0], turns=turns).stages_ms() == {"queue": 2.0}
    assert Contestant("not asked", lambda duration_s: turns[0], turns=[Turn(1, [0.1])]).stages_ms() is None


def test_latency_ratio_is_of_medians() -> None:
    ceiling = contestant("ceiling", [1], [0.010, 0.011, 0.500], True)
    served = contestant("served", [1], [0.020, 0.022, 0.023])
    assert Scenario("one", [ceiling, served], by_latency=True).ratios(served, ceiling) == pytest.approx([2.0])


def test_photos_are_never_alike_even_between_two_senders() -> None:
    photos = [b"one", b"two"]
    sent = [*itertools.islice(never_alike(photos), 50), *itertools.islice(never_alike(photos), 50)]
    assert len(set(sent)) == 100
    assert {photo[:3] for photo in sent} == {b"one", b"two"}
