"""Interests found in what somebody dealt with, and lists that are not all alike."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from triptych_models.errors import InvalidRequest
from triptych_models.search.preferences import Preferences, diversify, find_interests, parse_preferences

RANDOM = np.random.default_rng(7)


def around(direction: int, count: int, spread: float = 0.1) -> Any:
    """float32[count, 8], L2 norm 1, near an axis."""
    vectors = np.eye(8)[direction] + spread * RANDOM.normal(size=(count, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_two_interests_are_found_with_their_shares_when_products_diverge() -> None:
    vectors = np.concatenate([around(0, 3), around(5, 2)])
    one, other = find_interests(vectors, [1, 1, 1, 3, 3], most=3, apart=0.5)
    assert (int(one.direction.argmax()), int(other.direction.argmax())) == (5, 0)
    assert (one.share, other.share) == pytest.approx((6 / 9, 3 / 9))
    assert np.linalg.norm([one.direction, other.direction], axis=1) == pytest.approx([1, 1], abs=1e-5)


def test_alike_products_are_one_interest() -> None:
    assert len(find_interests(around(2, 6), [1.0] * 6, most=3, apart=0.5)) == 1


def test_no_more_interests_than_asked_for() -> None:
    vectors = np.concatenate([around(axis, 2) for axis in range(5)])
    found = find_interests(vectors, [1.0] * 10, most=2, apart=0.5)
    assert len(found) == 2
    assert sum(one.share for one in found) == pytest.approx(1)


def test_heavier_product_pulls_the_direction() -> None:
    vectors = np.eye(4, dtype=np.float32)[:2]
    (one,) = find_interests(vectors, [9, 1], most=1, apart=0.5)
    assert one.direction[:2] == pytest.approx(np.array([9, 1]) / np.hypot(9, 1), abs=1e-5)


def test_places_go_to_interests_by_their_shares() -> None:
    vectors = np.concatenate([around(0, 20), around(5, 20)])
    taken = diversify(np.ones(40, np.float32), vectors, [0] * 20 + [1] * 20, [0.75, 0.25], k=8, diversity=0.0)
    assert [sum(position < 20 for position in taken), len(taken)] == [6, 8]
    assert taken[0] < 20


def test_nearest_come_first_without_diversity_and_copies_are_passed_over_with_it() -> None:
    a, b = np.eye(4, dtype=np.float32)[:2]
    vectors = np.stack([a, a, a, b])
    relevance = np.array([0.9, 0.89, 0.88, 0.6], np.float32)
    assert diversify(relevance, vectors, [0] * 4, [1.0], k=2, diversity=0.0) == [0, 1]
    # 0.5 * 0.6 - 0.5 * 0 beats 0.5 * 0.89 - 0.5 * 1.
    assert diversify(relevance, vectors, [0] * 4, [1.0], k=2, diversity=0.5) == [0, 3]


def test_empty_interest_gives_its_places_to_the_others() -> None:
    assert len(diversify(np.ones(3, np.float32), around(1, 3), [0, 0, 0], [0.5, 0.5], k=3, diversity=0.3)) == 3


def test_fewer_candidates_than_places_are_all_taken() -> None:
    taken = diversify(np.ones(2, np.float32), around(1, 2), [0, 0], [1.0], k=10, diversity=0.3)
    assert sorted(taken) == [0, 1]


def test_taste_is_parsed_with_defaults() -> None:
    assert parse_preferences(b'{"weights": {"a": 2}}') == Preferences({"a": 2.0})


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        ({}, "`weights` of `taste` is invalid; expected an object"),
        ({"weights": {}}, "1 to 200 products"),
        ({"weights": {"a": 0}}, "The weight of 'a' in `taste` is 0; expected a number above 0"),
        ({"weights": {"a": True}}, "expected a number above 0"),
        ({"weights": {"a": 1}, "interests": 0}, "`interests` of `taste` is 0; expected a whole number from 1 to 10"),
        ({"weights": {"a": 1}, "diversity": 2}, "`diversity` of `taste` is 2; expected a number from 0 to 1"),
        (
            {"weights": {"a": 1}, "without": "a"},
            "`without` of `taste` is invalid; expected a list of at most 10000 product ids",
        ),
        ({"weights": {"a": 1}, "diversty": 0.1}, "unknown key 'diversty'"),
    ],
)
def test_invalid_preferences_are_refused_with_the_expected_value(asked: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidRequest, match=complaint):
        parse_preferences(json.dumps(asked).encode())
