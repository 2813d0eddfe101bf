"""The catalogue store in Weaviate, over an in-memory cluster; `tests/e2e/test_distributed.py` runs a real one."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.unit.triptych_models.fake_weaviate import FakeWeaviate
from tests.weaviate.catalogue_photos import NEW, OLD, StoreOf, directions, random_filter, random_items
from triptych_models.catalogue.duplicates import find_clusters
from triptych_models.catalogue.filters import parse_filter
from triptych_models.catalogue.records import Item
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import EngineUnavailable, InvalidFilter, InvalidRequest, StoreFault


@pytest.fixture
def stores(store_of: StoreOf, tmp_path: Path) -> Any:
    """The same 60 photos in SQLite and in Weaviate."""
    near, far = SqliteCatalogueStore(tmp_path), store_of(OLD)
    for store in (near, far):
        store.upsert(random_items(60), directions(60), OLD)
    yield near, far
    near.close()


@pytest.mark.parametrize("seed", range(30))
def test_count_agrees_with_the_embedded_store(stores: Any, seed: int) -> None:
    near, far = stores
    conditions = parse_filter(random_filter(random.Random(seed)))
    assert far.count(conditions) == near.count(conditions)


def test_reads_agree_with_the_embedded_store(stores: Any) -> None:
    near, far = stores
    assert far.field_names() == near.field_names()
    assert far.count_photos() == near.count()[0]
    assert far.get("nobody") == []
    for one, other in zip(far.get("sku-7"), near.get("sku-7"), strict=True):
        assert (one.photo_id, one.fields, one.phash) == (other.photo_id, other.fields, other.phash)
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)  # float32 through a list of floats
    assert find_clusters(far, 0.4) == find_clusters(near, 0.4) != []


def test_export_returns_every_photo_once(stores: Any) -> None:
    _, far = stores
    seen, after = [], None
    while rows := far.export(after, 7):
        seen += [row.photo_id for row in rows]
        after = rows[-1].id
    assert sorted(seen) == sorted(item.photo_id for item in random_items(60))


def test_upsert_replaces_a_photo_and_delete_removes_a_product(store_of: StoreOf) -> None:
    store, vectors = store_of(OLD), directions(3)
    store.upsert([Item("a", "x", {"n": 1}), Item("a", "y"), Item("b", "x")], vectors, OLD)
    store.upsert([Item("a", "x", {"n": 2})], vectors[2:], OLD)
    assert store.count() == (3, 2)
    assert [photo.fields for photo in store.get("a")] == [{"n": 2}, {}]
    assert store.delete(["a", "a", "nobody"]) == 1
    assert store.count() == (1, 1)


def test_store_is_empty_before_the_first_upsert(store_of: StoreOf) -> None:
    store = store_of(OLD)
    assert (store.count(), store.count_photos(), store.get("a"), store.export(None, 5)) == ((0, 0), 0, [], [])
    assert (store.delete(["a"]), store.field_names(), store.unreplaced_network()) == (0, [], None)
    assert store.read_nearest(directions(1)[0], 5, ()) == []
    with store.snapshot():
        assert store.added_after(0, 5)[2].shape == (0, 0)
    with pytest.raises(InvalidFilter, match="The catalogue is empty, so no product has the field 'colour'"):
        store.read_nearest(directions(1)[0], 5, parse_filter({"colour": "red"}))


def test_network_replaces_the_active_one_when_it_is_activated(store_of: StoreOf) -> None:
    old, new = store_of(OLD), store_of(NEW)
    old.upsert([Item("a", "a")], directions(1), OLD)
    assert (old.unreplaced_network(), new.unreplaced_network()) == (None, OLD)
    with pytest.raises(InvalidRequest, match="Import the catalogue first"):
        new.activate()
    new.upsert([Item("b", "b")], directions(1), NEW)
    assert new.unreplaced_network() == OLD
    assert new.activate() == {"active": f"Triptych_2_{NEW}", "before": f"Triptych_1_{OLD}"}
    assert (old.unreplaced_network(), new.unreplaced_network()) == (None, None)
    assert new.about() == {"engine": "weaviate", "collection": f"Triptych_2_{NEW}", "active": f"Triptych_2_{NEW}"}
    assert [photo.product_id for photo in new.export(None, 5)] == ["b"]


def test_field_of_another_server_is_found_when_a_filter_names_it(store_of: StoreOf) -> None:
    mine, theirs = store_of(OLD), store_of(OLD)
    mine.upsert([Item("a", "a")], directions(1), OLD)
    theirs.upsert([Item("b", "b", {"price": 5})], directions(1), OLD)
    (found,) = mine.read_nearest(directions(1)[0], 5, parse_filter({"price": {"gte": 5}}))
    assert found[0].product_id == "b"


def test_cluster_that_fails_is_unavailable_until_the_next_connection(store_of: StoreOf, cluster: FakeWeaviate) -> None:
    store = store_of(OLD)
    store.upsert([Item("a", "a")], directions(1), OLD)
    cluster.failure = OSError("connection refused")
    with pytest.raises(EngineUnavailable, match=r"weaviate\.test:8080 does not answer \(connection refused\)"):
        store.get("a")
    cluster.failure = None
    assert [photo.photo_id for photo in store.get("a")] == ["a"]
    assert cluster.connects == 2


@pytest.mark.parametrize(
    ("status", "kind", "sentence"),
    [
        (401, StoreFault, "refuses the key in the file that TRIPTYCH_CATALOGUE_WEAVIATE_KEY_FILE names"),
        (422, StoreFault, "refuses a request: "),
        (503, EngineUnavailable, "does not answer"),
    ],
)
def test_status_of_the_cluster_becomes_an_error_of_the_catalogue(
    store_of: StoreOf, cluster: FakeWeaviate, status: int, kind: type[Exception], sentence: str
) -> None:
    from weaviate.exceptions import UnexpectedStatusCodeError

    cluster.failure = UnexpectedStatusCodeError("asked", httpx.Response(status, json={}))
    with pytest.raises(kind, match=sentence):
        store_of(OLD).count()


def test_address_that_is_no_url_is_refused(store_of: StoreOf) -> None:
    with pytest.raises(StoreFault, match="TRIPTYCH_CATALOGUE_WEAVIATE is 'weaviate:8080'; expected a URL"):
        store_of(OLD, "weaviate:8080")


def test_environment_names_the_cluster(cluster: FakeWeaviate, monkeypatch: pytest.MonkeyPatch) -> None:
    from triptych_models.catalogue.weaviate_store import open_store

    monkeypatch.setenv("TRIPTYCH_CATALOGUE_WEAVIATE", "http://weaviate.test:8080")
    store = open_store(OLD)
    store.upsert([Item("a", "a")], np.eye(4, dtype=np.float32)[:1], OLD)
    assert store.meta("fingerprint") == OLD
    assert store.count() == (1, 1)
