"""Keeps an engine at the store's tip: before each search, and in a thread that also builds graphs and saves."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from catalogue_errors import REMEDY, StoreFault
from engine import EXACT_BELOW, Engine, build_graph
from saved_index import SavedIndex
from store import Store, Tip

PERIOD_S = 0.25
# What is written without a pause this long is not yet saved; the next start reads it from the store.
QUIET_S = 5.0
# Half the cores: photos are recognised at the same time.
GRAPH_THREADS = max(1, (os.cpu_count() or 2) // 2)

# After a full disk; on some file systems each try takes what room there is for a moment.
RETRY_S = 1.0

INDEX_FOLDER = "index"


class Follower:
    """The store of a folder, to be searched.

    Args:
        folder: the catalogue's.
        dimension: of its embeddings.
        log: takes one line for what happened.

    Raises:
        StoreFault: the store cannot be opened, or there is no room for its index.
    """

    def __init__(
        self, folder: Path, dimension: int, log: Callable[[str], None], exact_below: int = EXACT_BELOW
    ) -> None:
        self._log = log
        self._folder = folder
        self.store = Store(folder)
        self._lock = threading.RLock()
        self._seen = self.store.data_version()
        started_s = time.monotonic()
        try:
            self._saved = SavedIndex(folder / INDEX_FOLDER, dimension, exact_below)
            self.engine, how = self._saved.open(self.store)
        except OSError as error:
            said = error.strerror or error
            raise StoreFault(f"The index {folder / INDEX_FOLDER} cannot be made: {said}. {REMEDY}") from error
        self._saved_tip = self.engine.tip if how.startswith("loaded") else Tip()
        self._changed_s = time.monotonic()
        self._retry_s = 0.0
        log(f"catalogue: {how} in {time.monotonic() - started_s:.2f} s")

    def start(self) -> None:
        threading.Thread(target=self._run, name="follower", daemon=True).start()

    def close(self) -> None:
        """For who has not called `start`."""
        self.store.close()
        self.engine.vectors.close()
        self._saved.close()

    def lock(self) -> threading.RLock:
        """To be held while several things are asked of one state."""
        return self._lock

    def catch_up(self) -> None:
        """From here on every write that was acknowledged before is in the answers.

        On a full disk searches go on without the newest photos, which are safe in the store; they come with the room.
        """
        with self._lock:
            version, now_s = self.store.data_version(), time.monotonic()
            if version == self._seen or now_s < self._retry_s:
                return
            try:
                self.engine.follow(self.store)
            except OSError as error:
                self._retry_s = now_s + RETRY_S
                self._log(f"catalogue: searches miss the photos written last: {error}")
                return
            self._seen, self._changed_s = version, now_s

    def tend(self) -> None:
        """One round of what is done aside: follow, build, save."""
        self.catch_up()
        with self._lock:
            must_rebuild = self.store.meta("epoch") != self.engine.epoch or self.engine.wants_rebuild
        if must_rebuild:
            self._rebuild()
        if self.engine.wants_graph:
            self._extend_graph()
        elif self.engine.tip != self._saved_tip and time.monotonic() - self._changed_s > QUIET_S:
            self._save()

    def _rebuild(self) -> None:
        """The engine there is answers until the new one is ready."""
        own = Store(self._folder)
        try:
            engine = self._saved.build(own)
        finally:
            own.close()
        if engine.wants_graph:
            engine.use_graph(self._write_graph(engine, None, 0, engine.vectors.count), engine.vectors.count)
        with self._lock:
            engine.follow(self.store)
            old, self.engine = self.engine, engine
            old.vectors.close()
        self._save()
        self._log(f"catalogue: rebuilt, {engine.vectors.count} rows")

    def _extend_graph(self) -> None:
        engine = self.engine
        old = engine.graph_file
        rows = engine.vectors.count
        file = self._write_graph(engine, old, engine.graph_rows, rows)
        with self._lock:
            engine.use_graph(file, rows)
        self._save()
        self._log(f"catalogue: graph over {rows} rows")

    def _write_graph(self, engine: Engine, old: Path | None, start: int, stop: int) -> Path:
        file = self._saved.new_file("graph", "usearch")
        build_graph(old, start, engine.vectors.matrix[start:stop], file, GRAPH_THREADS)
        return file

    def _save(self) -> None:
        self.engine.vectors.sync()  # most of it, while searches go on
        with self._lock:
            self._saved.save(self.engine)
            self._saved_tip = self.engine.tip

    def _run(self) -> None:
        while True:
            time.sleep(PERIOD_S)
            try:
                self.tend()
            except Exception as error:  # a full disk: the store is untouched and searches go on
                self._log(f"catalogue: {type(error).__name__}: {error}")
                time.sleep(QUIET_S)
