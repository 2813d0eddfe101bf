"""`kill -9` at any moment: what was acknowledged is there, nothing is corrupt, and the index answers with it."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from tests.unit.triptych_models.catalogue.catalogue_writer import DIMENSION, embedding_of
from triptych_models.catalogue.files.sqlite_file import FILE
from triptych_models.search.index_sync import IndexSync
from triptych_models.search.query import SearchQuery

KILLS = 50
ROOT = Path(__file__).resolve().parents[4]


def run_and_kill(folder: Path, start: int, after_s: float) -> list[str]:
    """The lines a writer said before it died."""
    writer = subprocess.Popen(
        [sys.executable, Path(__file__).with_name("catalogue_writer.py"), folder, str(start)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert writer.stdout is not None
    lines = [writer.stdout.readline().decode()]  # it has started
    time.sleep(after_s)
    writer.send_signal(signal.SIGKILL)
    lines += writer.stdout.read().decode().splitlines(keepends=True)
    writer.stdout.close()
    assert writer.wait() == -signal.SIGKILL
    return [line for line in lines if line.endswith("\n")]


def test_catalogue_has_every_acknowledged_write_when_killed_fifty_times(tmp_path: Path) -> None:
    chance = random.Random(8)
    alive: set[int] = set()
    gone: set[int] = set()
    unsaid: set[int] = set()  # what may have happened at the moment of a kill
    start = 0
    for kill in range(KILLS):
        for line in run_and_kill(tmp_path, start, chance.uniform(0, 0.15)):
            verb, *numbers = line.split()
            (alive if verb == "upsert" else gone).update(map(int, numbers))
        last = max(alive)
        unsaid |= {last - 2, *range(last + 1, last + 4)}  # the delete after the last write, or the write after it
        start = last + 4
        with sqlite3.connect(tmp_path / FILE) as connection:
            assert connection.execute("PRAGMA quick_check").fetchone() == ("ok",), kill
        connection.close()
        sync = IndexSync(tmp_path, DIMENSION, lambda line: None, exact_below=20)
        kept = {int(row[0][1:]) for row in sync.store.rows(sync.index.vectors.ids.tolist()).values()}
        assert alive - gone - unsaid <= kept <= alive | unsaid, kill
        for number in chance.sample(sorted(alive - gone - unsaid), min(5, len(alive - gone - unsaid))):
            sync.catch_up()
            ids, _ = sync.index.search(embedding_of(number), 1, SearchQuery())
            (row,) = sync.store.rows(ids.tolist()).values()
            assert row[0] == f"p{number}"
        for number in gone:
            assert sync.store.get(f"p{number}") == []
        sync.close()
    assert len(alive) > 3 * KILLS
