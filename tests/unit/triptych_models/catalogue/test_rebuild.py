"""A rebuild of the index from its request to its result: what `status` says of it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.unit.triptych_models.catalogue.rebuild_processes import embedding_of
from tests.unit.triptych_models.catalogue.rebuild_shop import PHOTOS, Shop, found
from triptych_models.catalogue.rebuild import FILE, IndexRebuilds, read_report
from triptych_models.catalogue.settings import INDEX_FOLDER
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import RebuildRunning


def test_status_is_idle_when_nothing_was_ever_rebuilt(shop: Shop) -> None:
    assert not (shop.folder / INDEX_FOLDER).exists()
    assert (shop.state, shop.status()["index_loaded"]) == ("idle", False)
    shop.write(1, 2)
    sync = shop.open_index()
    sync.maintain()
    status = shop.status()
    assert (status["state"], status["index_loaded"], status["last"], status["progress"]) == ("idle", True, None, 1.0)


def test_status_tells_every_phase_and_the_result_when_the_index_is_rebuilt(full_shop: Shop) -> None:
    sync = full_shop.open_index()
    answer = full_shop.rebuilds.start()
    assert answer["photos"] == PHOTOS
    seen: list[dict[str, Any]] = []
    full_shop.watcher.ratios.clear()
    full_shop.watcher.hook = lambda: seen.append(full_shop.status())
    sync.maintain()
    running = [status for status in seen if status["state"] == "running"]
    assert list(dict.fromkeys(status["phase"] for status in running)) == [
        "reading_rows",
        "building_hnsw_index",
        "saving",
    ]
    assert {status["rebuild"] for status in running} == {answer["rebuild"]}
    assert all(0 <= status["done"] <= status["total"] <= PHOTOS for status in running)
    assert full_shop.watcher.ratios == sorted(full_shop.watcher.ratios)
    assert (full_shop.watcher.ratios[0], full_shop.watcher.ratios[-1]) == (0.0, 1.0)
    assert full_shop.watcher.results == [True]
    status = full_shop.status()
    assert (status["state"], status["rebuild"], status["progress"]) == ("idle", None, 1.0)
    last = status["last"]
    assert (last["rebuild"], last["photos"], last["error"]) == (answer["rebuild"], PHOTOS, None)
    assert 0 < last["seconds"] < 60
    assert full_shop.files() == ["graph", "rows", "vectors"]


def test_second_rebuild_is_refused_when_one_waits_or_runs(full_shop: Shop) -> None:
    sync = full_shop.open_index()
    first = full_shop.rebuilds.start()["rebuild"]
    assert full_shop.state == "waiting"
    refusals: list[str] = []

    def ask_again() -> None:
        if full_shop.state == "running":
            with pytest.raises(RebuildRunning) as refusal:
                full_shop.rebuilds.start()
            refusals.append(refusal.value.wire_text)

    with pytest.raises(RebuildRunning, match="A rebuild is waiting for model `index`"):
        full_shop.rebuilds.start()
    full_shop.watcher.hook = ask_again
    sync.maintain()
    assert len(refusals) >= 3
    assert set(refusals) == {
        "[rebuild_running] A rebuild is running; a second rebuild must wait. Call `status` reports the progress."
    }
    assert sync.index.epoch == first
    assert full_shop.rebuilds.start()["rebuild"] != first


def test_one_rebuild_begins_when_several_ask_at_the_same_moment(full_shop: Shop) -> None:
    sync = full_shop.open_index()

    def ask(barrier: threading.Barrier) -> str:
        store = SqliteCatalogueStore(full_shop.folder)
        try:
            barrier.wait(10)
            return str(IndexRebuilds(store, full_shop.folder / INDEX_FOLDER).start()["rebuild"])
        except RebuildRunning:
            return ""
        finally:
            store.close()

    for _ in range(10):
        barrier = threading.Barrier(4)
        with ThreadPoolExecutor(4) as pool:
            (begun,) = filter(None, pool.map(ask, [barrier] * 4))
        sync.maintain()
        assert full_shop.status()["last"]["rebuild"] == begun


def test_rebuild_waits_when_the_index_is_not_loaded(full_shop: Shop) -> None:
    rebuild = full_shop.rebuilds.start()["rebuild"]
    status = full_shop.status()
    assert (status["state"], status["index_loaded"], status["rebuild"]) == ("waiting", False, rebuild)
    sync = full_shop.open_index()
    assert f"catalogue: loaded {PHOTOS} rows" in full_shop.log[-1]  # the old one answers meanwhile
    assert found(sync, embedding_of(7)) == "p7"
    sync.maintain()
    assert (full_shop.state, full_shop.status()["last"]["rebuild"]) == ("idle", rebuild)


def test_rebuild_is_done_by_the_first_start_when_nothing_was_saved(shop: Shop) -> None:
    shop.write(*range(300))
    rebuild = shop.rebuilds.start()["rebuild"]
    sync = shop.open_index()
    file = sync.index.vectors.file
    sync.maintain()
    assert sync.index.vectors.file == file  # its rows are not read twice
    assert sync.index.graph_rows == 300
    last = shop.status()["last"]
    assert (last["rebuild"], last["photos"]) == (rebuild, 300)


def test_result_is_told_when_the_process_died_between_saving_and_saying_so(full_shop: Shop) -> None:
    rebuild = full_shop.rebuilds.start()["rebuild"]
    status_file = full_shop.folder / INDEX_FOLDER / FILE
    sync = full_shop.open_index()
    blocks: list[bytes] = []
    full_shop.watcher.hook = lambda: blocks.append(status_file.read_bytes())
    sync.maintain()
    sync.close()
    (saving,) = [block for block in blocks if b'"phase": "saving"' in block]
    status_file.write_bytes(saving)
    assert full_shop.state == "waiting"
    again = full_shop.open_index()
    file = again.index.vectors.file
    again.maintain()
    assert again.index.vectors.file == file
    assert (full_shop.state, full_shop.status()["last"]["rebuild"]) == ("idle", rebuild)


@pytest.mark.parametrize("spoiled", [b"", b"garbage", b"00000000 {}", None])
def test_status_recovers_when_its_file_is_spoiled(full_shop: Shop, spoiled: bytes | None) -> None:
    sync = full_shop.open_index()
    full_shop.rebuilds.start()
    sync.maintain()
    sync.close()
    status_file = full_shop.folder / INDEX_FOLDER / FILE
    if spoiled is None:
        status_file.unlink()
    else:
        status_file.write_bytes(spoiled)
    assert read_report(status_file) is None
    assert full_shop.state == "waiting"
    full_shop.open_index().maintain()
    assert (full_shop.state, full_shop.status()["last"]["photos"]) == ("idle", PHOTOS)


def test_rebuild_that_an_older_release_was_asked_for_is_made(full_shop: Shop) -> None:
    with full_shop.store._transaction():
        full_shop.store._set_meta("epoch", "0123456789abcdef")
    sync = full_shop.open_index()
    assert "loaded" in full_shop.log[-1]
    sync.maintain()
    assert sync.index.epoch == "0123456789abcdef"
    assert full_shop.state == "idle"
