"""A rebuild beside writes, searches and other processes, and what a crash leaves of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.unit.triptych_models.catalogue.rebuild_processes import embedding_of
from tests.unit.triptych_models.catalogue.rebuild_shop import PHOTOS, Shop, found, nothing
from triptych_models.catalogue.files.sqlite_file import FILE as STORE_FILE
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.search.vector_index import VectorIndex

ROOT = Path(__file__).resolve().parents[4]


def test_second_process_waits_when_one_rebuilds_the_same_catalogue(full_shop: Shop) -> None:
    first = full_shop.open_index()
    other = Shop(full_shop.folder)
    second = other.open_index()
    rebuild = full_shop.rebuilds.start()["rebuild"]
    epochs: list[str] = []

    def run_other() -> None:
        second.maintain()
        epochs.append(second.index.epoch)

    full_shop.watcher.hook = run_other
    first.maintain()
    full_shop.watcher.hook = nothing
    assert rebuild not in epochs[:-1]
    second.maintain()
    assert [sync.index.epoch for sync in (first, second)] == [rebuild, rebuild]
    assert full_shop.state == "idle"
    for sync in (first, second):
        assert sync.index.vectors.file.is_file()
        assert found(sync, embedding_of(7)) == "p7"
    other.close()


def test_either_process_rebuilds_when_the_other_does_nothing(full_shop: Shop) -> None:
    first, second = full_shop.open_index(), full_shop.open_index()
    rebuild = full_shop.rebuilds.start()["rebuild"]
    second.maintain()
    assert second.index.epoch == rebuild
    rebuild = full_shop.rebuilds.start()["rebuild"]
    first.maintain()
    assert first.index.epoch == rebuild


def test_store_is_free_and_nothing_is_missed_when_it_is_written_between_batches(shop: Shop) -> None:
    shop.write(*range(10_000))
    sync = shop.open_index()
    sync.maintain()
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
    sync.maintain()
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
    catch_up = VectorIndex.catch_up

    def catch_up_and_write(index: VectorIndex, store: SqliteCatalogueStore) -> None:
        catch_up(index, store)
        if store is not sync.store and index.graph_rows:
            full_shop.write(PHOTOS)
            assert found(sync, embedding_of(PHOTOS)) == f"p{PHOTOS}"

    old = sync.index
    full_shop.rebuilds.start()
    monkeypatch.setattr(VectorIndex, "catch_up", catch_up_and_write)
    sync.maintain()
    assert sync.index is not old
    assert found(sync, embedding_of(PHOTOS)) == f"p{PHOTOS}"


def test_writes_are_found_at_once_when_a_rebuild_takes_long(shop: Shop) -> None:
    """Long by its size: seconds of work on this machine, in which some hundred writes and searches go by."""
    many = 20_000
    shop.write(*range(many))
    sync = shop.open_index()
    sync.maintain()
    old = sync.index
    shop.rebuilds.start()
    thread = threading.Thread(target=sync.maintain)
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
