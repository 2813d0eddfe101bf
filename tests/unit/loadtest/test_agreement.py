"""Ratios are taken within a round."""

from __future__ import annotations

from loadtest.agreement import BENCH, LOCUST, Figure, compare


def test_ratios_are_those_of_one_round_on_a_machine_that_slows_down() -> None:
    rounds = {
        BENCH: [Figure(100, 10, 20), Figure(50, 20, 40), Figure(25, 40, 80)],
        LOCUST: [Figure(90, 11, 22), Figure(50, 20, 40), Figure(20, 50, 90)],
    }
    rows = compare(rounds)
    assert (rows[LOCUST]["ratio"], rows[LOCUST]["ratio_min"], rows[LOCUST]["ratio_max"]) == (0.9, 0.8, 1.0)
    assert (rows[LOCUST]["rate"], rows[LOCUST]["p50_ms"], rows[LOCUST]["p99_ms"]) == (50, 20, 40)
    assert rows[BENCH]["ratio"] == 1
