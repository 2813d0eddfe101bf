"""The catalogue's two engines say the same; the distributed one is filled anew without a pause, goes and comes back.

A real node of Weaviate on loopback; `make distributed` builds it. Several nodes have not been run.
"""

from __future__ import annotations

import json
import random
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from ops.server.local_server import LocalServer
from ops.settings import REPOSITORY, Settings
from tests.weaviate.catalogue_photos import DIMENSION, NEW, OLD, StoreOf, directions, random_filter, random_items
from tests.weaviate.process import Node, catalogue_in, free_ports, weaviate_node
from triptych import Client, Unavailable
from triptych import IncompatibleIndex as ClientIncompatibleIndex
from triptych_models.catalogue.records import Item
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import EngineUnavailable, IncompatibleIndex, InvalidRequest, StoreFault
from triptych_models.search.backend import EmbeddedBackend
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.query import SearchQuery, parse_query

pytestmark = [
    pytest.mark.distributed,
    # Of the libraries of weaviate-client.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning"),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with weaviate_node(tmp_path_factory.mktemp("weaviate")) as node:
        yield node


@pytest.fixture(scope="module")
def store_of() -> Iterator[StoreOf]:
    """Makes a store of a node; all are closed at the end."""
    # Only a distributed catalogue needs the libraries of Weaviate.
    from triptych_models.catalogue.weaviate_store import WeaviateCatalogueStore

    with ExitStack() as stack:

        def open_store(node: Node, fingerprint: str = OLD, key_file: Path | None = None) -> WeaviateCatalogueStore:
            return stack.enter_context(closing(WeaviateCatalogueStore(node.url, fingerprint, node.grpc_port, key_file)))

        yield open_store


def backend_of(store: Any) -> Any:
    """Searches over a store."""
    from triptych_models.search.weaviate_backend import WeaviateBackend

    return WeaviateBackend(store)


@pytest.fixture(scope="module")
def engines(
    node: Node, store_of: StoreOf, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Any, Any, Any, Any]]:
    """Embedded store and backend, then Weaviate's, with the same 300 photos."""
    folder = tmp_path_factory.mktemp("embedded")
    store = SqliteCatalogueStore(folder)
    items, vectors = random_items(300), directions(300)
    far = store_of(node)
    for start in range(0, 300, 100):
        part = slice(start, start + 100)
        store.upsert(items[part], vectors[part], OLD)
        far.upsert(items[part], vectors[part], OLD)
    sync = IndexSync(folder, DIMENSION, lambda line: None)
    yield store, EmbeddedBackend(sync, OLD), far, backend_of(far)
    sync.close()
    store.close()


@pytest.mark.parametrize("seed", range(40))
def test_engines_find_the_same(engines: tuple[Any, Any, Any, Any], seed: int) -> None:
    chance = random.Random(seed)
    asked = {
        "filter": random_filter(chance),
        "group_by_product": chance.random() < 0.5,
        "min_similarity": chance.choice([None, 0.1]),
    }
    query = parse_query(_json(asked))
    without = tuple(f"sku-{chance.randrange(150)}" for _ in range(chance.randint(0, 3)))
    direction, k = directions(1, seed)[0], chance.choice([1, 5, 40])
    _, near, _, far = engines
    with near.view():
        near.refuse_other_network()
        expected = near.nearest(direction, k, query, without)
    found = far.nearest(direction, k, query, without)
    assert [(hit.product_id, hit.photo_id, hit.fields, hit.phash) for hit in found] == [
        (hit.product_id, hit.photo_id, hit.fields, hit.phash) for hit in expected
    ], asked
    # float32 sums in another order.
    assert [hit.similarity for hit in found] == pytest.approx([hit.similarity for hit in expected], abs=1e-5)


@pytest.mark.parametrize("seed", range(20))
def test_engines_count_the_same(engines: tuple[Any, Any, Any, Any], seed: int) -> None:
    store, _, far, _ = engines
    conditions = parse_query(_json({"filter": random_filter(random.Random(seed))})).conditions
    assert far.count(conditions) == store.count(conditions)


def test_engines_tell_the_same_of_a_product_and_of_the_fields(engines: tuple[Any, Any, Any, Any]) -> None:
    store, near, far, far_backend = engines
    assert far.field_names() == store.field_names()
    for one, other in zip(far.get("sku-7"), store.get("sku-7"), strict=True):
        assert (one.photo_id, one.fields, one.phash) == (other.photo_id, other.fields, other.phash)
        assert one.embedding == pytest.approx(other.embedding, abs=1e-6)
    assert far.get("nobody") == store.get("nobody") == []
    assert far_backend.direction_of("sku-7") == pytest.approx(near.direction_of("sku-7"), abs=1e-6)


def test_export_brings_every_photo_once(engines: tuple[Any, Any, Any, Any]) -> None:
    _, _, far, _ = engines
    seen, after = [], None
    while rows := far.export(after, 70):
        seen += [row.photo_id for row in rows]
        after = rows[-1].id
    assert sorted(seen) == sorted(item.photo_id for item in random_items(300))


def test_engines_find_the_same_duplicates(engines: tuple[Any, Any, Any, Any]) -> None:
    from triptych_models.catalogue.duplicates import find_clusters

    store, _, far, _ = engines
    assert find_clusters(far, 0.55) == find_clusters(store, 0.55) != []


def test_photo_put_in_again_is_replaced_and_a_product_taken_out_is_gone_at_once(node: Node, store_of: StoreOf) -> None:
    store, vectors = store_of(node, "2" * 16), directions(3)
    store.upsert([Item("a", "x", {"n": 1}), Item("a", "y"), Item("b", "x")], vectors, "2" * 16)
    store.upsert([Item("a", "x", {"n": 2})], vectors[2:], "2" * 16)
    assert store.count() == (3, 2)
    assert [photo.fields for photo in store.get("a")] == [{"n": 2}, {}]
    assert store.delete(["a", "a", "nobody"]) == 1
    assert store.count() == (1, 1)
    assert {hit.product_id for hit in backend_of(store).nearest(vectors[0], 5, SearchQuery())} == {"b"}


def test_networks_never_mix_and_the_new_one_answers_once_it_is_active(store_of: StoreOf, tmp_path: Path) -> None:
    with weaviate_node(tmp_path) as own:
        old, new = store_of(own, OLD), store_of(own, NEW)
        old_backend, new_backend = backend_of(old), backend_of(new)
        vectors = directions(4)
        new_backend.refuse_other_network()  # nothing is there: an empty answer
        old.upsert([Item("a", "a"), Item("b", "b")], vectors[:2], OLD)
        with pytest.raises(IncompatibleIndex, match=OLD):
            new_backend.refuse_other_network()
        with pytest.raises(InvalidRequest, match="Import the catalogue first"):
            new.activate()
        new.upsert([Item("a", "a")], vectors[2:3], NEW)
        with pytest.raises(IncompatibleIndex, match="then call `activate`"):
            new_backend.refuse_other_network()
        old_backend.refuse_other_network()
        assert new.activate()["before"].endswith(OLD)
        new_backend.refuse_other_network()
        time.sleep(1.1)
        # The servers of the old network go on with what they have until they are replaced.
        old_backend.refuse_other_network()
        assert [hit.product_id for hit in old_backend.nearest(vectors[0], 5, SearchQuery())] == ["a", "b"]
        assert [hit.product_id for hit in new_backend.nearest(vectors[0], 5, SearchQuery())] == ["a"]


def test_engine_that_is_away_is_unavailable_and_is_found_again(store_of: StoreOf, tmp_path: Path) -> None:
    ports = free_ports()
    with weaviate_node(tmp_path, ports) as own:
        store = store_of(own)
        store.upsert([Item("a", "a")], directions(1), OLD)
    with pytest.raises(EngineUnavailable, match=f"127.0.0.1:{ports[0]} does not answer"):
        backend_of(store).nearest(directions(1)[0], 1, SearchQuery())
    with weaviate_node(tmp_path, ports):
        assert [hit.product_id for hit in backend_of(store).nearest(directions(1)[0], 1, SearchQuery())] == ["a"]


def test_wrong_key_is_said_to_be_one(store_of: StoreOf, tmp_path: Path) -> None:
    key = tmp_path / "key"
    with weaviate_node(tmp_path, key="right") as own:
        key.write_text("wrong\n")
        with pytest.raises(StoreFault, match="refuses the key in the file that TRIPTYCH_CATALOGUE_WEAVIATE_KEY"):
            store_of(own, OLD, key).count()
        key.write_text("right\n")
        assert store_of(own, OLD, key).count() == (0, 0)


def test_searches_go_on_while_a_new_network_takes_over(photos: list[Path], tmp_path: Path) -> None:
    """Two releases on one cluster: nobody who searches sees a pause or the other network's products."""
    repository = tmp_path / "repository"
    shutil.copytree(REPOSITORY, repository)
    transform = repository / "models/preprocess/1/transform.json"
    transform.write_text(transform.read_text().replace("}", " }"))  # another file: another fingerprint
    with weaviate_node(tmp_path) as own, catalogue_in(own):
        blue = LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0))
        green = LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, repository=repository))
        with blue, green:
            key = blue.catalogue_key_file.read_text()
            with Client(blue.grpc_target, catalogue_key=key) as old:
                for photo in photos[:8]:
                    old.catalogue.upsert(photo.stem, photo)
                _take_over(old, green, photos)


def _take_over(old: Client, green: LocalServer, photos: list[Path]) -> None:
    stop, found, failed = threading.Event(), [], []

    def shop() -> None:
        while not stop.is_set():
            try:
                answer = old.search(photos[0], k=3)
                found.append((answer.top.product_id if answer.top else None, answer.fingerprint))
            except Exception as error:
                failed.append(error)

    shopper = threading.Thread(target=shop)
    shopper.start()
    try:
        with Client(green.grpc_target, catalogue_key=green.catalogue_key_file.read_text()) as new:
            with pytest.raises(ClientIncompatibleIndex):
                new.search(photos[0])
            for photo in photos[:8]:
                new.catalogue.upsert(photo.stem, photo)
            with pytest.raises(ClientIncompatibleIndex, match="activate"):
                new.search(photos[0])
            new.catalogue.activate()
            first = new.search(photos[0])
            time.sleep(1.5)
    finally:
        stop.set()
        shopper.join()
    assert failed == []
    assert len(found) > 10
    assert {product for product, _ in found} == {photos[0].stem}
    assert first.top is not None
    assert first.top.product_id == photos[0].stem
    assert {fingerprint for _, fingerprint in found} != {first.fingerprint}
    assert len({fingerprint for _, fingerprint in found}) == 1


def test_server_starts_and_answers_unavailable_while_the_engine_is_away(photos: list[Path], tmp_path: Path) -> None:
    ports = free_ports()
    away = Node(f"http://127.0.0.1:{ports[0]}", ports[1], 0)
    with (
        catalogue_in(away),
        LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server,
        Client(server.grpc_target, timeout_s=20) as client,
    ):
        assert client.recognize(photos[0]).top
        with pytest.raises(Unavailable, match="does not answer"):
            client.with_options(timeout_s=5).search(photos[0])
        with weaviate_node(tmp_path, ports) as own:
            assert own.pid
            assert client.search(photos[0]).matches == ()


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
