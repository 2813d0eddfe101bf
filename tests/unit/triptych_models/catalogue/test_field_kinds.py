"""Filters that compare a field with another kind of value than it holds, in both stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.weaviate.catalogue_photos import OLD, StoreOf, directions
from triptych_models.catalogue.field_kinds import MAX_COUNTED, Holding, check_filter, describe_kinds, describe_others
from triptych_models.catalogue.filters import parse_filter
from triptych_models.catalogue.records import Item
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import InvalidFilter

FIELDS: list[dict[str, Any]] = [
    {"price": "59,90", "brand": "5", "stock": True, "size": 38, "tags": ["a", 1]},
    {"price": "19,90 €", "brand": "A", "stock": False, "size": "39", "tags": ["b"]},
    {"price": "", "brand": "B", "size": 40.5},
    {"weight": -3},
]


@pytest.fixture(params=["embedded", "weaviate"])
def store(request: pytest.FixtureRequest, tmp_path: Path, store_of: StoreOf) -> Iterator[Any]:
    """A catalogue of `FIELDS`."""
    store = SqliteCatalogueStore(tmp_path) if request.param == "embedded" else store_of(OLD)
    store.upsert([Item(f"sku-{n}", "front", fields) for n, fields in enumerate(FIELDS)], directions(len(FIELDS)), OLD)
    yield store
    store.close()


@pytest.mark.parametrize(
    ("filter_", "told"),
    [
        ({"price": {"lt": 50}}, "compares 'price' with the number 50, and the field holds text in 3 photos"),
        ({"price": {"gte": 0.5}}, "'price' with the number 0.5, and the field holds text in 3 photos"),
        ({"brand": 5}, "'brand' with the number 5, and the field holds text in 3 photos"),
        ({"brand": [5, 6]}, "no photo has a number there"),
        ({"brand": {"ne": 5}}, "or compare with a text"),
        ({"stock": "true"}, "'stock' with the text 'true', and the field holds a number in 2 photos"),
        ({"weight": {"gt": "1"}}, "a number in 1 photos, such as -3; no photo has a text there"),
        ({"brand": "A", "weight": "heavy"}, "`triptych catalogue info` shows what each field holds"),
    ],
)
def test_comparison_with_a_kind_that_the_field_lacks_is_refused(store: Any, filter_: Any, told: str) -> None:
    for _ in range(2):  # also once a store remembers what a field holds
        with pytest.raises(InvalidFilter) as refusal:
            check_filter(parse_filter(filter_), store)
        assert told in str(refusal.value)


@pytest.mark.parametrize(
    "filter_",
    [
        {},
        {"price": "59,90"},
        {"price": {"exists": False}},
        {"stock": True},
        {"size": 38},
        {"size": "39"},
        {"size": {"lt": 50}},
        {"tags": 1},
        {"brand": ["5", 5]},
        {"weight": {"lt": 0}},
    ],
)
def test_comparison_with_a_kind_that_some_photo_has_passes(store: Any, filter_: Any) -> None:
    for _ in range(2):
        check_filter(parse_filter(filter_), store)


def test_photos_of_the_other_kind_are_counted_in_a_notice(store: Any) -> None:
    (notice,) = describe_others(parse_filter({"size": {"lt": 50, "gt": 1}, "weight": {"lt": 0}}), store)
    assert notice == (
        "The field 'size' holds text in 1 photos, such as '39', which the filter's number is not compared with."
    )


def test_kinds_of_every_field_are_named(store: Any) -> None:
    assert describe_kinds(store) == {
        "brand": "text",
        "price": "text",
        "size": "text and numbers",
        "stock": "numbers",
        "tags": "text and numbers",
        "weight": "numbers",
    }


def test_kind_appears_and_vanishes_with_its_photos(store: Any) -> None:
    compared = parse_filter({"price": {"lt": 50}})
    store.upsert([Item("sku-9", "front", {"price": 45})], directions(1), OLD)
    check_filter(compared, store)
    if isinstance(store, SqliteCatalogueStore):  # Weaviate's store asks again after a minute
        store.delete(["sku-9"])
        with pytest.raises(InvalidFilter):
            check_filter(compared, store)


def test_count_of_a_kind_stops_at_its_limit(store: Any) -> None:
    assert store.read_kind("price", is_text=True, limit=2).photos == 2
    assert store.read_kind("price", is_text=False, limit=MAX_COUNTED) == Holding(0, None)


def test_filter_of_an_empty_catalogue_says_that_it_is_empty(tmp_path: Path, store_of: StoreOf) -> None:
    for empty in (SqliteCatalogueStore(tmp_path), store_of(OLD)):
        with pytest.raises(InvalidFilter, match="The catalogue is empty, so no product has the field 'price'"):
            check_filter(parse_filter({"price": 5}), empty)
        empty.close()
