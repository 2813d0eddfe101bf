"""poddisruptionbudget.yaml: how many pods a drain may evict at once."""

from __future__ import annotations

from tests.chart.matrix import TOGGLES
from tests.chart.rendering import render


def test_one_pod_may_go_at_a_time_by_default() -> None:
    spec = render().one("PodDisruptionBudget")["spec"]
    assert spec["maxUnavailable"] == 1
    assert "minAvailable" not in spec


def test_minimum_takes_the_place_of_the_maximum() -> None:
    spec = render(TOGGLES["pdb-minimum"]).one("PodDisruptionBudget")["spec"]
    assert spec["minAvailable"] == 1
    assert "maxUnavailable" not in spec


def test_percentage_stays_one() -> None:
    assert render(TOGGLES["pdb-percent"]).one("PodDisruptionBudget")["spec"]["maxUnavailable"] == "25%"


def test_broken_pod_does_not_block_a_drain() -> None:
    assert render().one("PodDisruptionBudget")["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_budget_is_absent_when_it_is_off() -> None:
    assert not render(TOGGLES["pdb-off"]).all("PodDisruptionBudget")
