"""Calls `backup` and `restore` over a real store: one moment while others write, all or none."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.triptych_models.catalogue.test_damage import DIMENSION, MATRIX, matrix_of
from triptych_models.catalogue.calls import CatalogueCalls
from triptych_models.catalogue.rebuild import NoRebuilds
from triptych_models.catalogue.records import Floats, Item
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import IncompatibleIndex, InvalidRequest, StoreFault
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.query import SearchQuery

NETWORK = "0" * 16
State = dict[tuple[str, str], tuple[dict[str, Any], bytes]]


class Shop:
    """A store and its calls."""

    def __init__(self, folder: Path, fingerprint: str = NETWORK) -> None:
        self.store = SqliteCatalogueStore(folder)
        self._calls = CatalogueCalls(self.store, NoRebuilds(self.store.count), DIMENSION, fingerprint)

    def close(self) -> None:
        self.ask("restore", step="abort")
        self.store.close()

    def ask(self, call: str, embeddings: Floats | None = None, **asked: Any) -> Any:
        name, rest = self._calls.parse(json.dumps({"call": call, **asked}).encode())
        return json.loads(json.dumps(self._calls.answer(name, rest, embeddings)))

    def write(self, *numbers: int, version: int = 0) -> None:
        items = [Item(f"product-{n // 2}", f"photo-{n}", {"version": version, "names": ["a", "ä"]}) for n in numbers]
        self.store.upsert(items, MATRIX[list(numbers)], NETWORK)

    def state(self) -> State:
        return {
            (row.product_id, row.photo_id): (row.fields, row.embedding.tobytes()) for row in self.store.export(0, 999)
        }

    def restore(self, rows: list[Any], batch: int = 50) -> Any:
        token = self.ask("restore", step="begin", fingerprint=NETWORK, dimension=DIMENSION)["restore"]
        for at in range(0, len(rows), batch):
            items, vectors = split(rows[at : at + batch])
            for _ in range(2):  # the second is what a client sends when an answer was lost
                assert self.ask("restore", vectors, step="add", restore=token, at=at, items=items)["received"]
        return self.ask("restore", step="commit", restore=token, photos=len(rows))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path / "shop")
    shop.write(*range(300))
    yield shop
    shop.close()


def split(rows: list[Any]) -> tuple[list[Any], Floats]:
    items = [{name: value for name, value in row.items() if name not in ("id", "embedding")} for row in rows]
    return items, np.stack([np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in rows])


def pages(shop: Shop, limit: int = 100) -> Iterator[Any]:
    page: Any = {"next": {}, "complete": False}
    while not page["complete"]:
        page = shop.ask("backup", limit=limit, **page["next"])
        yield page


def rows_of(found: list[Any]) -> list[Any]:
    removed = {id_ for page in found for id_ in page["removed"]}
    return [row for page in found for row in page["rows"] if row["id"] not in removed]


@pytest.mark.parametrize("seed", range(8))
def test_backup_is_the_state_of_its_last_page_when_others_write_between_pages(shop: Shop, seed: int) -> None:
    chance = random.Random(seed)
    found = []
    state: State = {}
    for number, page in enumerate(pages(shop, limit=chance.choice([7, 40, 100]))):
        found.append(page)
        state = shop.state()
        if number < 20:
            shop.write(*chance.sample(range(400), 5), version=number)
            shop.store.delete([f"product-{chance.randrange(200)}" for _ in range(3)])
    rows = rows_of(found)
    items, vectors = split(rows)
    assert {
        (item["product_id"], item["photo_id"]): (item["fields"], vector.tobytes())
        for item, vector in zip(items, vectors, strict=True)
    } == state
    assert len(rows) == len(state) == found[-1]["photos"]
    assert found[-1]["products"] == len({product for product, _ in state})


def test_restore_replaces_all_photos_and_the_index_follows(shop: Shop, tmp_path: Path) -> None:
    kept, rows = shop.state(), rows_of(list(pages(shop)))
    sync = IndexSync(tmp_path / "shop", DIMENSION, lambda line: None, exact_below=100)
    shop.store.delete(["product-3"])
    shop.write(*range(300, 500), version=9)
    shop.write(0, version=9)
    assert shop.restore(rows) == {"photos": 300, "products": 150}
    assert shop.state() == kept
    assert shop.ask("count", filter={"version": 0})["photos"] == 300
    assert shop.ask("count", filter={"version": 9})["photos"] == 0
    with sync.lock():
        sync.catch_up()
        ids, _ = sync.index.search(MATRIX[6], 1, SearchQuery())
        assert sync.store.rows(ids.tolist()).popitem()[1][:2] == ("product-3", "photo-6")
        assert int(sync.index.vectors.alive.sum()) == 300
    sync.maintain()
    assert sync.index.vectors.count == 300
    sync.close()
    assert not list((tmp_path / "shop").glob("restore-*"))


def test_commit_that_is_sent_again_has_no_effect(shop: Shop) -> None:
    rows = rows_of(list(pages(shop)))
    token = shop.ask("restore", step="begin", fingerprint=NETWORK, dimension=DIMENSION)["restore"]
    items, vectors = split(rows[:50])
    shop.ask("restore", vectors, step="add", restore=token, at=0, items=items)
    for _ in range(2):
        assert shop.ask("restore", step="commit", restore=token, photos=50) == {"photos": 50, "products": 25}


def test_empty_backup_empties_the_catalogue(shop: Shop) -> None:
    token = shop.ask("restore", step="begin")["restore"]
    assert shop.ask("restore", step="commit", restore=token, photos=0) == {"photos": 0, "products": 0}
    shop.write(1)
    assert shop.store.count() == (1, 1)


def test_catalogue_is_unchanged_until_the_commit_and_after_a_refusal(shop: Shop) -> None:
    kept, rows = shop.state(), rows_of(list(pages(shop)))
    token = shop.ask("restore", step="begin", fingerprint=NETWORK, dimension=DIMENSION)["restore"]
    items, vectors = split(rows[:20])
    shop.ask("restore", vectors, step="add", restore=token, at=0, items=items)
    assert shop.state() == kept
    with pytest.raises(InvalidRequest, match="`photos` is 300; the restore has received 20"):
        shop.ask("restore", step="commit", restore=token, photos=300)
    with pytest.raises(InvalidRequest, match="`at` is 60; expected 20"):
        shop.ask("restore", vectors, step="add", restore=token, at=60, items=items)
    shop.ask("restore", step="abort", restore=token)
    with pytest.raises(InvalidRequest, match="This restore has ended"):
        shop.ask("restore", step="commit", restore=token, photos=20)
    assert shop.state() == kept


@pytest.mark.parametrize("wrong", ["fields", "embedding", "twice", "length"])
def test_photos_that_are_not_what_was_backed_up_are_refused(shop: Shop, wrong: str) -> None:
    kept = shop.state()
    items, vectors = split(rows_of(list(pages(shop)))[:20])
    vectors = vectors.copy()
    sentence = "Photo 4 of the restore does not match its checksums"
    if wrong == "fields":
        items[3]["fields"]["version"] = 5
    elif wrong == "embedding":
        vectors[3] = matrix_of(1, seed=8)[0]
    elif wrong == "twice":
        items[3], vectors[3], sentence = items[4], vectors[4], "A photo is in this restore twice"
    else:
        vectors[3], sentence = np.nan, "does not have the length 1"
    token = shop.ask("restore", step="begin", fingerprint=NETWORK, dimension=DIMENSION)["restore"]
    with pytest.raises(InvalidRequest, match=sentence):
        shop.ask("restore", vectors, step="add", restore=token, at=0, items=items)
    assert shop.state() == kept


def test_backup_of_another_network_is_refused(shop: Shop) -> None:
    with pytest.raises(IncompatibleIndex, match="Serve the network that made the backup's embeddings"):
        shop.ask("restore", step="begin", fingerprint="1" * 16, dimension=DIMENSION)
    with pytest.raises(InvalidRequest, match=f"`dimension` is 3; expected {DIMENSION}, the length of"):
        shop.ask("restore", step="begin", fingerprint=NETWORK, dimension=3)


def test_second_restore_ends_the_first(shop: Shop) -> None:
    first, second = (
        shop.ask("restore", step="begin", fingerprint=NETWORK, dimension=DIMENSION)["restore"] for _ in range(2)
    )
    assert first != second
    with pytest.raises(InvalidRequest, match="another restore began"):
        shop.ask("restore", step="commit", restore=first, photos=0)


def test_nothing_changes_when_the_disk_is_full_at_the_commit(shop: Shop, tmp_path: Path) -> None:
    rows = rows_of(list(pages(shop)))
    small = Shop(tmp_path / "small")
    small.write(3)
    kept = small.state()
    ((page_count,),) = small.store.read("PRAGMA page_count")
    small.store.read(f"PRAGMA max_page_count = {page_count + 5}")
    with pytest.raises(StoreFault, match=r"full.*Nothing of this request was written"):
        small.restore(rows)
    assert small.state() == kept
    small.write(3, version=1)
    small.close()


@pytest.mark.parametrize(
    ("call", "asked"),
    [
        ("verify", {"part": "all"}),
        ("verify", {"after": -1}),
        ("backup", {"limit": 10_000}),
        ("backup", {"removed_after": "x"}),
        ("restore", {}),
        ("restore", {"step": "add", "items": []}),
        ("restore", {"step": "commit", "restore": "", "photos": 0}),
        ("restore", {"step": "begin", "force": True}),
    ],
)
def test_calls_are_refused_when_an_argument_is_wrong(shop: Shop, call: str, asked: Any) -> None:
    with pytest.raises(InvalidRequest):
        shop.ask(call, **asked)
