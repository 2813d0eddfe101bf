"""The simulated shop: the same for a seed, as its assumptions say; and the measure of a list."""

from __future__ import annotations

import numpy as np
import pytest

from loadtest.recommend_eval import DAY_S, DAYS, HELD_OUT_DAYS, Shop, ndcg

CLASSES = {f"{name}/{number}": name for name in ("hats", "shoes", "bags", "rugs") for number in range(40)}


def test_shoppers_are_the_same_for_a_seed_and_others_for_another() -> None:
    one, again, other = (Shop(CLASSES, seed).shoppers(20) for seed in (1, 1, 2))
    assert one == again
    assert one != other


def test_shoppers_keep_to_their_classes_and_what_is_wanted_is_new_to_them() -> None:
    people = Shop(CLASSES, 3).shoppers(200)
    cut_s = (DAYS - HELD_OUT_DAYS) * DAY_S
    for shopper in people:
        assert shopper.wanted
        assert not shopper.wanted & {event.product_id for event in shopper.events}
        assert all(event.at_s < cut_s for event in shopper.events)
        assert 1 <= len(shopper.classes) <= 3
    views = [(shopper, event) for shopper in people for event in shopper.events if event.kind == "view"]
    loyal = np.mean([CLASSES[event.product_id] in shopper.classes for shopper, event in views])
    # 0.9, and of the tenth that goes anywhere half the classes are liked on average: 0.95; 5,000 views: +-0.02.
    assert loyal == pytest.approx(0.95, abs=0.02)
    purchases = sum(event.kind == "purchase" for shopper in people for event in shopper.events)
    assert purchases / len(views) == pytest.approx(0.3 * 0.4 * 0.5, abs=0.02)


@pytest.mark.parametrize(
    ("hits", "wanted", "expected"),
    [
        ([True, True, False], 2, 1.0),
        ([False, False, False], 2, 0.0),
        ([False, True], 1, 1 / np.log2(3)),
        ([True, False, True], 3, (1 + 1 / 2) / (1 + 1 / np.log2(3) + 1 / 2)),
    ],
)
def test_ndcg_is_the_gain_over_the_best_there_could_be(hits: list[bool], wanted: int, expected: float) -> None:
    assert ndcg(np.array(hits), wanted) == pytest.approx(expected)
