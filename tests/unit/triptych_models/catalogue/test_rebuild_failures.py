"""A rebuild that fails: what is said of it, what it leaves, and when it is tried again."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from tests.unit.triptych_models.catalogue.rebuild_processes import embedding_of
from tests.unit.triptych_models.catalogue.rebuild_shop import PHOTOS, Shop, found
from triptych_models.errors import RebuildRunning
from triptych_models.search import index_sync, rebuild_reports
from triptych_models.search.saved_index import SavedIndex


def no_room_by_measure(patch: pytest.MonkeyPatch) -> str:
    class Usage:
        free = 5 << 20

    patch.setattr(shutil, "disk_usage", lambda folder: Usage)
    return r"The new index needs \d+ MiB of disk space; 5 MiB are free\. Free disk space\."


def no_room_for_vectors(patch: pytest.MonkeyPatch) -> str:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "secret words")

    patch.setattr(os, "posix_fallocate", refuse)
    return r"The disk of the index is full\. Free disk space\."


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
        sync.maintain()
        status = full_shop.status()
        assert (status["state"], status["rebuild"], status["last"]["rebuild"]) == ("failed", rebuild, rebuild)
        assert re.fullmatch(sentence, status["last"]["error"])
        assert 0 < status["retry_in_s"] <= rebuild_reports.FIRST_RETRY_S
        assert full_shop.watcher.ratios[-1] == 0.0
        assert found(sync, embedding_of(7)) == "p7"
        with pytest.raises(RebuildRunning, match="about to be retried"):
            full_shop.rebuilds.start()
        sync.maintain()
        assert full_shop.watcher.results == [False]  # not at once again
    assert any("secret words" in line or "MiB are free" in line for line in full_shop.log)
    monkeypatch.setattr(sync._reports, "_retry_s", 0.0)
    sync.maintain()
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
            sync.maintain()
    assert full_shop.watcher.results == [False] * 5
    assert full_shop.files() == before


def test_pause_grows_to_its_limit_when_rebuilds_fail(full_shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    sync = full_shop.open_index()
    full_shop.rebuilds.start()
    no_room_by_measure(monkeypatch)
    pauses = []
    for _ in range(6):
        sync._reports._retry_s = 0.0
        sync.maintain()
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
        sync.maintain()
        assert sync.index.epoch == rebuild
        assert full_shop.state == "waiting"
    assert states.count("running") == 0
    assert len([line for line in full_shop.log if "cannot write the progress" in line]) == 1
    sync.maintain()
    assert (full_shop.state, full_shop.status()["last"]["rebuild"]) == ("idle", rebuild)
    assert full_shop.watcher.results == [True]


def test_failure_of_a_rebuild_that_began_by_itself_does_not_stay(
    full_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    sync = full_shop.open_index()
    full_shop.store.delete([f"p{number}" for number in range(PHOTOS * 2 // 3)])
    with monkeypatch.context() as patch:
        unwritable_folder(patch)
        sync.maintain()  # the new index is searched, and could not be saved
        assert not sync.index.wants_rebuild
        assert full_shop.state == "failed"
    sync._reports._retry_s = 0.0
    sync.maintain()
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
    sync.maintain()
    assert "running" in states
    assert (full_shop.state, full_shop.status()["last"]["photos"]) == ("idle", PHOTOS // 3)
    assert sync.index.vectors.count == PHOTOS // 3
