"""Search over the Weaviate catalogue store, compared with the embedded backend."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.triptych_models.fake_weaviate import FakeWeaviate
from tests.weaviate.catalogue_photos import (
    DIMENSION,
    NEW,
    OLD,
    StoreOf,
    directions,
    random_filter,
    random_items,
)
from triptych_models.catalogue.records import Item
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import EngineUnavailable, IncompatibleIndex
from triptych_models.search.backend import EmbeddedBackend
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.query import SearchQuery, parse_query


def backend_of(store: Any) -> Any:
    from triptych_models.search.weaviate_backend import WeaviateBackend

    return WeaviateBackend(store)


@pytest.fixture
def backends(store_of: StoreOf, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """The embedded backend and Weaviate's, over the same 60 photos."""
    near, far = SqliteCatalogueStore(tmp_path), store_of(OLD)
    for store in (near, far):
        store.upsert(random_items(60), directions(60), OLD)
    near.close()
    sync = IndexSync(tmp_path, DIMENSION, lambda line: None)
    yield EmbeddedBackend(sync, OLD), backend_of(far)
    sync.close()


@pytest.mark.parametrize("seed", range(30))
def test_backends_return_the_same_hits(backends: tuple[Any, Any], seed: int) -> None:
    chance = random.Random(seed)
    asked = {
        "filter": random_filter(chance),
        "group_by_product": chance.random() < 0.5,
        "min_similarity": chance.choice([None, 0.1]),
    }
    query = parse_query(json.dumps(asked).encode())
    without = tuple(f"sku-{chance.randrange(30)}" for _ in range(chance.randint(0, 3)))
    direction, k = directions(1, seed)[0], chance.choice([1, 5, 40])
    near, far = backends
    expected = near.nearest(direction, k, query, without)
    found = far.nearest(direction, k, query, without)
    assert [(hit.photo_id, hit.payload) for hit in found] == [(hit.photo_id, hit.payload) for hit in expected], asked
    # float32 against float64 sums.
    assert [hit.similarity for hit in found] == pytest.approx([hit.similarity for hit in expected], abs=1e-5)


def test_product_has_the_same_direction_in_both(backends: tuple[Any, Any]) -> None:
    near, far = backends
    assert far.direction_of("sku-7") == pytest.approx(near.direction_of("sku-7"), abs=1e-6)
    assert far.direction_of("nobody") is None
    assert (far.count_photos(), far.count_unindexed()) == (60, 0)


def test_search_reads_more_photos_when_most_are_of_one_product(store_of: StoreOf, cluster: FakeWeaviate) -> None:
    store, vectors = store_of(OLD), directions(1).repeat(31, axis=0)
    store.upsert([*(Item("a", str(number)) for number in range(30)), Item("b", "b")], vectors, OLD)
    hits = backend_of(store).nearest(vectors[0], 2, SearchQuery())
    assert [hit.product_id for hit in hits] == ["a", "b"]
    assert cluster.limits == [4, 16, 64]


def test_search_stops_reading_below_the_least_similarity(store_of: StoreOf, cluster: FakeWeaviate) -> None:
    store, vectors = store_of(OLD), directions(40)
    store.upsert([Item(str(number), "x") for number in range(40)], vectors, OLD)
    hits = backend_of(store).nearest(vectors[0], 2, SearchQuery(min_similarity=0.99))
    assert [hit.product_id for hit in hits] == ["0"]
    assert cluster.limits == [4]


def test_network_that_was_never_active_is_refused_until_it_is_activated(store_of: StoreOf) -> None:
    old, new = store_of(OLD), store_of(NEW)
    backend_of(new).refuse_other_network()  # an empty cluster: searches return nothing
    old.upsert([Item("a", "a")], directions(1), OLD)
    new.upsert([Item("b", "b")], directions(1), NEW)
    with pytest.raises(IncompatibleIndex, match=f"{OLD}.*{NEW}.*then call `activate`"):
        backend_of(new).refuse_other_network()
    new.activate()
    for store, product_id in ((old, "a"), (new, "b")):
        backend_of(store).refuse_other_network()
        (hit,) = backend_of(store).nearest(directions(1)[0], 5, SearchQuery())
        assert hit.product_id == product_id


def test_count_is_not_a_number_while_the_cluster_is_down(store_of: StoreOf, cluster: FakeWeaviate) -> None:
    cluster.failure = OSError("connection refused")
    backend = backend_of(store_of(OLD))
    assert math.isnan(backend.count_photos())
    with pytest.raises(EngineUnavailable):
        backend.nearest(directions(1)[0], 1, SearchQuery())
