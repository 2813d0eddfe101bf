"""Several processes make the same catalogue at once, as `index` and `catalogue` do when a server first starts."""

from __future__ import annotations

import multiprocessing
from multiprocessing.synchronize import Barrier
from pathlib import Path

from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore

PROCESSES = 6
TRIES = 200


def _open_all(folders: list[Path], barrier: Barrier) -> None:
    for folder in folders:
        barrier.wait(60)
        SqliteCatalogueStore(folder).close()


def test_all_open_a_store_that_none_has_made_yet(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(PROCESSES)
    folders = [tmp_path / str(number) for number in range(TRIES)]
    processes = [context.Process(target=_open_all, args=(folders, barrier), daemon=True) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * PROCESSES
