"""Which categories a search is narrowed to, and what it then finds."""

from __future__ import annotations

import json
from collections.abc import Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import pytest

from triptych_models.catalogue.records import Floats
from triptych_models.errors import InvalidRequest
from triptych_models.search.backend import Hit
from triptych_models.search.predicted_filter import choose, parse_predicted_filter, vote
from triptych_models.search.query import SearchQuery, parse_query
from triptych_models.search.searcher import Searcher


def test_vote_shares_by_likeness_and_leaves_out_what_has_no_category() -> None:
    neighbours: list[tuple[dict[str, Any], float]] = [
        ({"category": "Shoes"}, 0.8), ({"category": "Bags"}, 0.4), ({"category": "Shoes"}, 0.4), ({}, 0.9),
        ({"category": 7}, 0.9), ({"category": "Hats"}, -0.2),
    ]  # fmt: skip
    assert vote("category", neighbours) == pytest.approx({"Shoes": 0.75, "Bags": 0.25})
    assert vote("colour", neighbours) == {}


@pytest.mark.parametrize(
    ("votes", "predicted", "expected"),
    [
        ({"a": 0.7, "b": 0.3}, {}, ["a"]),
        ({"a": 0.5, "b": 0.3, "c": 0.2}, {}, ["a", "b"]),
        ({"a": 0.55, "b": 0.45}, {"b": 0.2}, ["b"]),  # b: (0.45 + 1) / 2; what was predicted counts in full
        ({"a": 0.25, "b": 0.25, "c": 0.25, "d": 0.25}, {}, ["a", "b", "c"]),
        ({}, {"b": 0.9, "a": 0.1}, ["b"]),
        ({}, {}, []),
    ],
)
def test_likeliest_categories_are_chosen_until_they_cover_enough(
    votes: dict[str, float], predicted: dict[str, float], expected: list[str]
) -> None:
    assert choose(votes, predicted) == expected


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("category", "`narrow` is invalid; expected"),
        ({}, "`narrow` is invalid; expected"),
        ({"field": ""}, "`narrow` is invalid; expected"),
        ({"field": "category", "predict": {}}, "unknown key 'predict'"),
        ({"field": "category", "predicted": [1]}, "expected an object of at most"),
        ({"field": "category", "predicted": {"a": 2}}, "probability from 0 to 1"),
        ({"field": "category", "predicted": {"a": True}}, "probability from 0 to 1"),
        ({"field": "category", "predicted": dict.fromkeys(map(str, range(65)), 0.1)}, "at most 64"),
    ],
)
def test_narrowing_is_refused_with_a_sentence_when_it_is_none(asked: Any, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        parse_predicted_filter(asked)


class Rack:
    """Photos as rows of (product, category, direction), compared one by one."""

    def __init__(self, photos: list[tuple[str, str, Floats]]) -> None:
        self.photos = photos
        self.asked: list[SearchQuery] = []

    def view(self) -> AbstractContextManager[None]:
        return nullcontext()

    def refuse_other_network(self) -> None:
        pass

    def nearest(self, direction: Floats, k: int, query: SearchQuery, without: Collection[str] = ()) -> list[Hit]:
        self.asked.append(query)
        hits = [
            Hit(name, name, {"category": category}, None, None, float(vector @ direction), vector)
            for name, category, vector in self.photos
            if all(category in condition.values for condition in query.conditions)
        ]
        return sorted(hits, key=lambda hit: -hit.similarity)[:k]

    def direction_of(self, product_id: str) -> Floats | None:
        return None

    def count_photos(self) -> float:
        return len(self.photos)

    def count_unindexed(self) -> int:
        return 0


def at(degrees: float) -> Floats:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


@pytest.fixture
def rack() -> Rack:
    """The nearest to 0 degrees is a bag among shoes; hats are far."""
    shoes = [(f"shoe-{number}", "Shoes", at(10 + number)) for number in range(5)]
    return Rack([("bag", "Bags", at(5)), *shoes, ("hat", "Hats", at(80))])


def asked(predicted: dict[str, float] | None = None) -> SearchQuery:
    return parse_query(json.dumps({"narrow": {"field": "category", "predicted": predicted or {}}}).encode())


def test_search_finds_the_neighbours_category_first_and_others_behind(rack: Rack) -> None:
    answer = Searcher(rack).by_embedding(at(0), 7, asked())
    assert answer.narrowed_to == ["Shoes"]
    names = [photo.product_id for photo in answer.hits]
    assert names == ["shoe-0", "shoe-1", "shoe-2", "shoe-3", "shoe-4", "bag", "hat"]
    assert [photo.product_id for photo in Searcher(rack).by_embedding(at(0), 2, asked()).hits] == ["shoe-0", "shoe-1"]


def test_search_follows_what_was_predicted_when_the_catalogue_has_it(rack: Rack) -> None:
    assert Searcher(rack).by_embedding(at(0), 1, asked({"Bags": 0.9})).hits[0].product_id == "bag"
    # "Trousers" is in no product, so the 0.1 of the shoes is all that was predicted of what is there.
    answer = Searcher(rack).by_embedding(at(0), 1, asked({"Trousers": 0.9, "Shoes": 0.1}))
    assert (answer.narrowed_to, answer.hits[0].product_id) == (["Shoes"], "shoe-0")


def test_search_is_plain_when_no_neighbour_has_a_category(rack: Rack) -> None:
    query = parse_query(b'{"narrow": {"field": "brand"}}')
    answer = Searcher(rack).by_embedding(at(0), 1, query)
    assert (answer.narrowed_to, answer.hits[0].product_id) == ([], "bag")
