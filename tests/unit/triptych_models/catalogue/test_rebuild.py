"""Rebuilds of the index beside writes and searches: what `status` says of them, and what a crash leaves."""

from __future__ import annotations

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.triptych_models.catalogue.rebuild_processes import DIMENSION, EXACT_BELOW, embedding_of
from triptych_models.catalogue.rebuild import FILE, IndexRebuilds, read_report
from triptych_models.catalogue.records import Floats, Item
from triptych_models.catalogue.settings import INDEX_FOLDER
from triptych_models.catalogue.sqlite_store import FILE as STORE_FILE
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import RebuildRunning
from triptych_models.search import index_sync, rebuild_reports
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.query import SearchQuery
from triptych_models.search.saved_index import SavedIndex
from triptych_models.search.vector_index import VectorIndex

ROOT = Path(__file__).resolve().parents[4]
PHOTOS = 3000


def nothing() -> None:
    """Of a hook that is not set."""


class Watcher:
    """An observer that calls `hook` at each step of a rebuild, and remembers what it was told."""

    def __init__(self) -> None:
        self.hook: Callable[[], None] = nothing
        self.ratios: list[float] = []
        self.results: list[bool] = []

    def progressed(self, ratio: float) -> None:
        self.ratios.append(ratio)
        self.hook()

    def ended(self, succeeded: bool) -> None:
        self.results.append(succeeded)


class Shop:
    """A catalogue's folder: the connection of the model `catalogue`, and syncs of the model `index`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = SqliteCatalogueStore(folder)
        self.rebuilds = IndexRebuilds(self.store, folder / INDEX_FOLDER)
        self.watcher = Watcher()
        self.log: list[str] = []
        self._syncs: list[IndexSync] = []

    def open_index(self) -> IndexSync:
        sync = IndexSync(self.folder, DIMENSION, self.log.append, EXACT_BELOW, self.watcher)
        self._syncs.append(sync)
        return sync

    def write(self, *numbers: int) -> None:
        items = [Item(f"p{number}", f"p{number}") for number in numbers]
        for at in range(0, len(items), 256):
            matrix = np.stack([embedding_of(number) for number in numbers[at : at + 256]])
            self.store.upsert(items[at : at + 256], matrix, "test")

    def status(self) -> dict[str, Any]:
        return self.rebuilds.status()

    @property
    def state(self) -> str:
        return str(self.status()["state"])

    def files(self) -> list[str]:
        """Kinds of the index's files, locks left out."""
        return sorted(path.name.partition("-")[0] for path in (self.folder / INDEX_FOLDER).glob("*-*.[!l]*"))

    def close(self) -> None:
        self.watcher.hook = nothing
        for sync in self._syncs:
            sync.close()
        self.store.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    yield shop
    shop.close()


@pytest.fixture
def full_shop(shop: Shop) -> Shop:
    """With photos, and an index that was saved."""
    shop.write(*range(PHOTOS))
    sync = shop.open_index()
    sync.tend()
    sync.close()
    return shop


def found(sync: IndexSync, direction: Floats) -> str:
    """The product that a search finds first."""
    with sync.lock():
        sync.catch_up()
        ids, _ = sync.index.search(direction, 1, SearchQuery())
        return str(sync.store.rows(ids.tolist()).popitem()[1][0])


def test_status_is_idle_when_nothing_was_ever_rebuilt(shop: Shop) -> None:
    assert not (shop.folder / INDEX_FOLDER).exists()
    assert (shop.state, shop.status()["index_loaded"]) == ("idle", False)
    shop.write(1, 2)
    sync = shop.open_index()
    sync.tend()
    status = shop.status()
    assert (status["state"], status["index_loaded"], status["last"], status["progress"]) == ("idle", True, None, 1.0)


def test_status_tells_every_phase_and_the_result_when_the_index_is_rebuilt(full_shop: Shop) -> None:
    sync = full_shop.open_index()
    answer = full_shop.rebuilds.start()
    assert answer["photos"] == PHOTOS
    seen: list[dict[str, Any]] = []
    full_shop.watcher.ratios.clear()
    full_shop.watcher.hook = lambda: seen.append(full_shop.status())
    sync.tend()
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

    with pytest.raises(RebuildRunning, match="A rebuild is waiting for `index`"):
        full_shop.rebuilds.start()
    full_shop.watcher.hook = ask_again
    sync.tend()
    assert len(refusals) >= 3
    assert set(refusals) == {
        "[rebuild_running] A rebuild is running; a second one must wait for it. The call `status` says more."
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
        sync.tend()
        assert full_shop.status()["last"]["rebuild"] == begun


def test_rebuild_waits_when_the_index_is_not_loaded(full_shop: Shop) -> None:
    rebuild = full_shop.rebuilds.start()["rebuild"]
    status = full_shop.status()
    assert (status["state"], status["index_loaded"], status["rebuild"]) == ("waiting", False, rebuild)
    sync = full_shop.open_index()
    assert f"catalogue: loaded {PHOTOS} rows" in full_shop.log[-1]  # the old one answers meanwhile
    assert found(sync, embedding_of(7)) == "p7"
    sync.tend()
    assert (full_shop.state, full_shop.status()["last"]["rebuild"]) == ("idle", rebuild)


def test_rebuild_is_done_by_the_first_start_when_nothing_was_saved(shop: Shop) -> None:
    shop.write(*range(300))
    rebuild = shop.rebuilds.start()["rebuild"]
    sync = shop.open_index()
    file = sync.index.vectors.file
    sync.tend()
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
    sync.tend()
    sync.close()
    (saving,) = [block for block in blocks if b'"phase": "saving"' in block]
    status_file.write_bytes(saving)
    assert full_shop.state == "waiting"
    again = full_shop.open_index()
    file = again.index.vectors.file
    again.tend()
    assert again.index.vectors.file == file
    assert (full_shop.state, full_shop.status()["last"]["rebuild"]) == ("idle", rebuild)


@pytest.mark.parametrize("spoiled", [b"", b"garbage", b"00000000 {}", None])
def test_status_recovers_when_its_file_is_spoiled(full_shop: Shop, spoiled: bytes | None) -> None:
    sync = full_shop.open_index()
    full_shop.rebuilds.start()
    sync.tend()
    sync.close()
    status_file = full_shop.folder / INDEX_FOLDER / FILE
    if spoiled is None:
        status_file.unlink()
    else:
        status_file.write_bytes(spoiled)
    assert read_report(status_file) is None
    assert full_shop.state == "waiting"
    full_shop.open_index().tend()
    assert (full_shop.state, full_shop.status()["last"]["photos"]) == ("idle", PHOTOS)


def no_room_by_measure(patch: pytest.MonkeyPatch) -> str:
    class Usage:
        free = 5 << 20

    patch.setattr(shutil, "disk_usage", lambda folder: Usage)
    return r"The new index needs \d+ MB on the disk, 5 MB are free\. Make room\."


def no_room_for_vectors(patch: pytest.MonkeyPatch) -> str:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "secret words")

    patch.setattr(os, "posix_fallocate", refuse)
    return r"The disk of the index is full\. Make room\."


def broken_graph(patch: pytest.MonkeyPatch) -> str:
    def write_half(*arguments: Any) -> None:
        arguments[3].write_bytes(b"half")
        raise RuntimeError("secret words")

    patch.setattr(index_sync, "build_graph", write_half)
    return r"The rebuild failed\. The server's log says why\."


def unwritable_folder(patch: pytest.MonkeyPatch) -> str:
    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "secret words")

    patch.setattr(SavedIndex, "save", refuse)
    return r"The folder of the index cannot be written\. The server's log says why\."


@pytest.mark.parametrize("spoil", [no_room_by_measure, no_room_for_vectors, broken_graph, unwritable_folder])
def test_rebuild_is_failed_and_tried_again_when_something_stands_in_its_way(
    full_shop: Shop, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[pytest.MonkeyPatch], str]
) -> None:
    sync = full_shop.open_index()
    rebuild = full_shop.rebuilds.start()["rebuild"]
    with monkeypatch.context() as patch:
        sentence = spoil(patch)
        sync.tend()
        status = full_shop.status()
        assert (status["state"], status["rebuild"], status["last"]["rebuild"]) == ("failed", rebuild, rebuild)
        assert re.fullmatch(sentence, status["last"]["error"])
        assert 0 < status["retry_in_s"] <= rebuild_reports.FIRST_RETRY_S
        assert full_shop.watcher.ratios[-1] == 0.0
        assert found(sync, embedding_of(7)) == "p7"
        with pytest.raises(RebuildRunning, match="about to be tried again"):
            full_shop.rebuilds.start()
        sync.tend()
        assert full_shop.watcher.results == [False]  # not at once again
    assert any("secret words" in line or "MB are free" in line for line in full_shop.log)
    monkeypatch.setattr(sync._reports, "_retry_s", 0.0)
    sync.tend()
    assert (full_shop.state, full_shop.status()["last"]["error"]) == ("idle", None)
    assert full_shop.watcher.results == [False, True]
    assert full_shop.watcher.ratios[-1] == 1.0
    assert full_shop.files() == ["graph", "rows", "vectors"]
    assert found(sync, embedding_of(7)) == "p7"


@pytest.mark.parametrize("spoil", [no_room_by_measure, no_room_for_vectors, broken_graph])
def test_failed_rebuild_leaves_no_file_when_it_is_tried_again_and_again(
    full_shop: Shop, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[pytest.MonkeyPatch], str]
) -> None:
    sync = full_shop.open_index()
    full_shop.rebuilds.start()
    monkeypatch.setattr(rebuild_reports, "FIRST_RETRY_S", 0.0)
    sync._reports._pause_s = 0.0
    before = full_shop.files()
    with monkeypatch.context() as patch:
        spoil(patch)
        for _ in range(5):
            sync.tend()
    assert full_shop.watcher.results == [False] * 5
    assert full_shop.files() == before


def test_pause_grows_to_its_limit_when_rebuilds_fail(full_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = full_shop.open_index()
    full_shop.rebuilds.start()
    no_room_by_measure(monkeypatch)
    pauses = []
    for _ in range(6):
        sync._reports._retry_s = 0.0
        sync.tend()
        pauses.append(round(full_shop.status()["retry_in_s"]))
    assert pauses == [5, 10, 20, 40, 60, 60]


def test_status_comes_right_when_it_could_not_be_written_for_a_while(
    full_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    sync = full_shop.open_index()
    rebuild = full_shop.rebuilds.start()["rebuild"]
    states: list[str] = []
    full_shop.watcher.hook = lambda: states.append(full_shop.state)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        sync.tend()
        assert sync.index.epoch == rebuild
        assert full_shop.state == "waiting"
    assert states.count("running") == 0
    assert len([line for line in full_shop.log if "cannot be written" in line]) == 1
    sync.tend()
    assert (full_shop.state, full_shop.status()["last"]["rebuild"]) == ("idle", rebuild)
    assert full_shop.watcher.results == [True]


def test_failure_of_a_rebuild_that_began_by_itself_does_not_stay(
    full_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = full_shop.open_index()
    full_shop.store.delete([f"p{number}" for number in range(PHOTOS * 2 // 3)])
    with monkeypatch.context() as patch:
        unwritable_folder(patch)
        sync.tend()  # the new index is searched, and could not be saved
        assert not sync.index.wants_rebuild
        assert full_shop.state == "failed"
    sync._reports._retry_s = 0.0
    sync.tend()
    assert (full_shop.state, full_shop.watcher.results) == ("idle", [False, True])


def test_rebuild_that_began_by_itself_is_told_and_refuses_another(full_shop: Shop) -> None:
    sync = full_shop.open_index()
    full_shop.store.delete([f"p{number}" for number in range(PHOTOS * 2 // 3)])
    states: list[str] = []

    def ask() -> None:
        states.append(full_shop.state)
        if states[-1] == "running":
            with pytest.raises(RebuildRunning):
                full_shop.rebuilds.start()

    full_shop.watcher.hook = ask
    sync.tend()
    assert "running" in states
    assert (full_shop.state, full_shop.status()["last"]["photos"]) == ("idle", PHOTOS // 3)
    assert sync.index.vectors.count == PHOTOS // 3


def test_rebuild_that_an_older_release_was_asked_for_is_made(full_shop: Shop) -> None:
    with full_shop.store._transaction():
        full_shop.store._set_meta("epoch", "0123456789abcdef")
    sync = full_shop.open_index()
    assert "loaded" in full_shop.log[-1]
    sync.tend()
    assert sync.index.epoch == "0123456789abcdef"
    assert full_shop.state == "idle"


def test_second_process_waits_when_one_rebuilds_the_same_catalogue(full_shop: Shop) -> None:
    first = full_shop.open_index()
    other = Shop(full_shop.folder)
    second = other.open_index()
    rebuild = full_shop.rebuilds.start()["rebuild"]
    epochs: list[str] = []

    def run_other() -> None:
        second.tend()
        epochs.append(second.index.epoch)

    full_shop.watcher.hook = run_other
    first.tend()
    full_shop.watcher.hook = nothing
    assert rebuild not in epochs[:-1]
    second.tend()
    assert [sync.index.epoch for sync in (first, second)] == [rebuild, rebuild]
    assert full_shop.state == "idle"
    for sync in (first, second):
        assert sync.index.vectors.file.is_file()
        assert found(sync, embedding_of(7)) == "p7"
    other.close()


def test_either_process_rebuilds_when_the_other_does_nothing(full_shop: Shop) -> None:
    first, second = full_shop.open_index(), full_shop.open_index()
    rebuild = full_shop.rebuilds.start()["rebuild"]
    second.tend()
    assert second.index.epoch == rebuild
    rebuild = full_shop.rebuilds.start()["rebuild"]
    first.tend()
    assert first.index.epoch == rebuild


def test_store_is_free_and_nothing_is_missed_when_it_is_written_between_batches(shop: Shop) -> None:
    shop.write(*range(10_000))
    sync = shop.open_index()
    sync.tend()
    shop.rebuilds.start()
    batches: list[tuple[int, int]] = []

    def write() -> None:
        if shop.status()["phase"] == "reading_rows":
            number = 20_000 + len(batches)
            shop.write(number, 17)  # 17 again: read already, and now another row
            shop.store.delete([f"p{len(batches)}"])
            # A reader that held on to the state of its start would keep the log from being emptied.
            busy, *_ = shop.store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            batches.append((busy, (shop.folder / f"{STORE_FILE}-wal").stat().st_size))

    shop.watcher.hook = write
    sync.tend()
    shop.watcher.hook = nothing
    assert len(batches) >= 3
    assert set(batches) == {(0, 0)}
    alive = sync.index.vectors.ids[sync.index.vectors.alive]
    assert alive.tolist() == [row.id for row in shop.store.export(None, 20_000)]
    assert len(alive) == 10_000
    assert found(sync, embedding_of(20_000)) == "p20000"
    assert found(sync, embedding_of(17)) == "p17"


def test_write_is_found_when_it_comes_just_before_the_new_index_is_searched(
    full_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = full_shop.open_index()
    follow = VectorIndex.follow

    def follow_and_write(index: VectorIndex, store: SqliteCatalogueStore) -> None:
        follow(index, store)
        if store is not sync.store and index.graph_rows:
            full_shop.write(PHOTOS)
            assert found(sync, embedding_of(PHOTOS)) == f"p{PHOTOS}"

    old = sync.index
    full_shop.rebuilds.start()
    monkeypatch.setattr(VectorIndex, "follow", follow_and_write)
    sync.tend()
    assert sync.index is not old
    assert found(sync, embedding_of(PHOTOS)) == f"p{PHOTOS}"


def test_writes_are_found_at_once_when_a_rebuild_takes_long(shop: Shop) -> None:
    """Long by its size: seconds of work on this machine, in which some hundred writes and searches go by."""
    many = 20_000
    shop.write(*range(many))
    sync = shop.open_index()
    sync.tend()
    old = sync.index
    shop.rebuilds.start()
    thread = threading.Thread(target=sync.tend)
    thread.start()
    running = number = 0
    slowest_s = 0.0
    rebuild_s = time.perf_counter()
    while thread.is_alive():
        shop.write(many + number)
        began_s = time.perf_counter()
        assert found(sync, embedding_of(many + number)) == f"p{many + number}"
        slowest_s = max(slowest_s, time.perf_counter() - began_s)
        if number % 3 == 0:
            shop.store.delete([f"p{number}"])
            assert found(sync, embedding_of(number)) != f"p{number}"
        number += 1
        status = shop.status()
        running += status["state"] == "running" and sync.index is old
    thread.join()
    rebuild_s = time.perf_counter() - rebuild_s
    assert running > 20
    # A search waits for the swap and for files to be synced, never for the graph.
    assert slowest_s < rebuild_s / 4
    assert sync.index is not old
    assert sync.index.vectors.count >= many
    deleted = {f"p{each}" for each in range(0, number, 3)}
    kept = {row[0] for row in sync.store.rows(sync.index.vectors.ids[sync.index.vectors.alive].tolist()).values()}
    assert kept == {f"p{each}" for each in range(many + number)} - deleted
    assert shop.state == "idle"
    assert shop.files() == ["graph", "rows", "vectors"]


class Role:
    """A process that plays one of the two models until it is killed."""

    def __init__(self, role: str, folder: Path, start: int = 0) -> None:
        script = Path(__file__).with_name("rebuild_processes.py")
        self._process = subprocess.Popen(
            [sys.executable, script, role, folder, str(start)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == b"loaded\n"

    def kill(self) -> list[list[str]]:
        """What it said, a list of words a whole line."""
        assert self._process.stdout is not None
        self._process.send_signal(signal.SIGKILL)
        lines = self._process.stdout.read().decode().splitlines(keepends=True)
        self._process.stdout.close()
        assert self._process.wait() == -signal.SIGKILL
        return [line.split() for line in lines if line.endswith("\n")]


def wait_for(state: str, shop: Shop, within_s: float) -> bool:
    deadline_s = time.monotonic() + within_s
    while shop.state != state:
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.002)
    return True


@pytest.mark.parametrize("victims", [("index",), ("catalogue",), ("index", "catalogue")])
def test_nothing_is_lost_and_the_rebuild_is_made_when_processes_are_killed_in_it(
    tmp_path: Path, victims: tuple[str, ...]
) -> None:
    chance = random.Random(19)
    shop = Shop(tmp_path)
    shop.write(*range(6000))
    written, gone, unsaid = set(range(6000)), set[int](), set[int]()
    interrupted = 0
    roles = {"index": Role("index", tmp_path), "catalogue": Role("catalogue", tmp_path, 7000)}
    for kill in range(8):
        if chance.random() < 0.8:
            wait_for("running", shop, within_s=10)
        time.sleep(chance.uniform(0, 0.3))
        for victim in victims:
            for verb, *words in roles[victim].kill():
                if verb in ("upsert", "delete"):
                    (written if verb == "upsert" else gone).add(int(words[0]))
        if "index" in victims:
            state = shop.state
            assert state in ("idle", "waiting"), kill
            interrupted += state == "waiting"
        # What may have happened at the moment of the kill.
        unsaid |= {max(written), max(written) + 1}
        start = 10_000 * (kill + 1)
        for victim in victims:
            roles[victim] = Role(victim, tmp_path, start)
    for verb, *words in roles["catalogue"].kill():
        if verb in ("upsert", "delete"):
            (written if verb == "upsert" else gone).add(int(words[0]))
    unsaid |= {max(written), max(written) + 1}
    assert wait_for("idle", shop, within_s=60), shop.status()
    last = shop.status()["last"]
    assert (last["rebuild"], last["error"]) == (shop.store.meta("epoch"), None)
    assert interrupted >= 3 or "index" not in victims
    roles["index"].kill()
    sync = shop.open_index()
    assert "loaded" in shop.log[-1]
    assert sync.index.epoch == shop.store.meta("epoch")
    kept = {int(row[0][1:]) for row in sync.store.rows(sync.index.vectors.ids.tolist()).values()}
    assert written - gone - unsaid <= kept <= (written | unsaid) - (gone - unsaid)
    for number in chance.sample(sorted(written - gone - unsaid), 50):
        assert found(sync, embedding_of(number)) == f"p{number}"
    shop.close()
