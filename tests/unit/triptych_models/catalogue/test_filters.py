from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych_models.catalogue.filters import check_fields, parse_filter
from triptych_models.catalogue.records import Item
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import InvalidRequest

PRODUCTS: list[dict[str, Any]] = [
    {"category": "Shoes", "brand": "A", "price": 10, "tags": ["new", "sale"]},
    {"category": "Shoes", "brand": "B", "price": 49.5, "colour": "red"},
    {"category": "Bags", "brand": "A", "price": 50, "colour": "blue", "is_new": True},
    {"category": "Bags", "price": "on request"},
]


@pytest.fixture
def store(tmp_path: Path) -> SqliteCatalogueStore:
    store = SqliteCatalogueStore(tmp_path)
    items = [Item(str(number), str(number), fields) for number, fields in enumerate(PRODUCTS)]
    store.upsert(items, np.eye(len(PRODUCTS), dtype=np.float32), "test")
    return store


@pytest.mark.parametrize(
    ("filter_", "expected"),
    [
        ({}, "0123"),
        ({"category": "Shoes"}, "01"),
        ({"category": "Shoes", "brand": ["A", "C"]}, "0"),
        ({"price": {"gte": 10, "lt": 50}}, "01"),
        ({"price": {"gt": 10}}, "12"),
        ({"price": {"lte": 49.5}}, "01"),
        ({"price": {"gte": "a"}}, "3"),
        ({"colour": {"ne": "red"}}, "023"),
        ({"colour": {"exists": True}}, "12"),
        ({"colour": {"exists": False}, "category": "Bags"}, "3"),
        ({"tags": "sale"}, "0"),
        ({"is_new": True}, "2"),
        ({"category": "shoes"}, ""),
    ],
)
def test_filter_selects_the_products_that_meet_all_conditions(
    store: SqliteCatalogueStore, filter_: dict[str, Any], expected: str
) -> None:
    rows = store.rows(store.select(parse_filter(filter_)).tolist())
    assert "".join(sorted(row[0] for row in rows.values())) == expected
    assert store.count(parse_filter(filter_)) == (len(expected), len(expected))


@pytest.mark.parametrize(
    ("filter_", "sentence"),
    [
        ([], "The filter is a list; expected an object"),
        ({"price": {}}, "has no operator"),
        ({"price": {"above": 3}}, "has the operator 'above'; expected one of gte, gt, lte, lt, ne, exists"),
        ({"price": []}, "lists 0 values"),
        ({"price": None}, "compares with null"),
        ({"price": {"gte": [1]}}, "compares with a list"),
        ({"price": {"exists": 1}}, "`exists` is a number; expected true or false"),
        ({f"f{n}": n for n in range(33)}, "has 33 conditions"),
    ],
)
def test_filter_is_refused_with_a_sentence_when_it_is_none(filter_: Any, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse_filter(filter_)
    assert sentence in str(refusal.value)


def test_filter_names_the_nearest_field_when_no_product_has_the_one_asked_for(store: SqliteCatalogueStore) -> None:
    with pytest.raises(InvalidRequest, match=r"the field 'catgory' .* Did you mean 'category'"):
        check_fields(parse_filter({"catgory": "Shoes"}), store.field_names())
    assert store.field_names() == ["brand", "category", "colour", "is_new", "price", "tags"]
