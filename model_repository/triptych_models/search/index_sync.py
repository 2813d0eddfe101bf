"""Keeps the index at the store's tip: before each search, and in threads that also rebuild it, index more and save."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from triptych_models.catalogue.rebuild import BUILDING, READING, SAVING
from triptych_models.catalogue.records import Tip
from triptych_models.catalogue.settings import EXACT_BELOW, INDEX_FOLDER
from triptych_models.catalogue.sqlite_store import REQUESTED_AT, SqliteCatalogueStore
from triptych_models.errors import REMEDY, StoreFault
from triptych_models.search.rebuild_reports import RebuildObserver, RebuildReports, Unobserved
from triptych_models.search.saved_index import SavedIndex, sync_file
from triptych_models.search.vector_index import VectorIndex, build_graph, index_bytes

PERIOD_S = 0.25
# What is written without a pause this long is not yet saved; the next start reads it from the store.
QUIET_S = 5.0
# Half the cores: photos are recognised at the same time.
GRAPH_THREADS = max(1, (os.cpu_count() or 2) // 2)

# After a full disk; on some file systems each try takes what room there is for a moment.
RETRY_S = 1.0
# A rebuild leaves so much of the disk to writes of the catalogue.
SPARE_BYTES = 16 << 20


class IndexSync:
    """The store of a folder, to be searched.

    Args:
        folder: the catalogue's.
        dimension: of its embeddings.
        log: takes one line for what happened.
        exact_below: up to so many photos each is compared.
        observer: told how rebuilds go.

    Raises:
        StoreFault: the store cannot be opened, or there is no room for its index.
    """

    def __init__(
        self,
        folder: Path,
        dimension: int,
        log: Callable[[str], None],
        exact_below: int = EXACT_BELOW,
        observer: RebuildObserver | None = None,
    ) -> None:
        self._log = log
        self._folder = folder
        self.store = SqliteCatalogueStore(folder)
        self._lock = threading.RLock()
        self._seen = self.store.data_version()
        started_s = time.monotonic()
        try:
            self._saved = SavedIndex(folder / INDEX_FOLDER, dimension, exact_below)
            self._reports = RebuildReports(folder / INDEX_FOLDER, log, observer or Unobserved())
            self.index, how = self._saved.open(self.store)
        except OSError as error:
            said = error.strerror or error
            raise StoreFault(f"The index {folder / INDEX_FOLDER} cannot be made: {said}. {REMEDY}") from error
        self._saved_tip = self.index.tip if how.startswith("loaded") else Tip()
        self._changed_s = time.monotonic()
        self._retry_s = 0.0
        log(f"catalogue: {how} in {time.monotonic() - started_s:.2f} s")

    def start(self) -> None:
        """Two threads: one follows while the other rebuilds for minutes."""
        for name, work in (("index-sync", self.tend), ("index-follow", self.catch_up)):
            threading.Thread(target=self._repeat, args=(work,), name=name, daemon=True).start()

    def close(self) -> None:
        """For who has not called `start`."""
        self.store.close()
        self.index.vectors.close()
        self._reports.close()
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
                self.index.follow(self.store)
            except OSError as error:
                self._retry_s = now_s + RETRY_S
                self._log(f"catalogue: searches miss the photos written last: {error}")
                return
            self._seen, self._changed_s = version, now_s

    def tend(self) -> None:
        """One round of what is done aside: follow, rebuild, extend the graph, save."""
        self.catch_up()
        self._reports.mend()
        if self._wants_rebuild() and not self._reports.is_pausing:
            if not self._reports.take():
                return  # another process is at it, of the release before: what is made here would not be seen
            self._rebuild()
        if self.index.wants_graph:
            self._extend_graph()
            self._save()
            self._log(f"catalogue: graph over {self.index.graph_rows} rows")
        elif self.index.tip != self._saved_tip and time.monotonic() - self._changed_s > QUIET_S:
            self._save()

    def _wants_rebuild(self) -> bool:
        with self._lock:
            is_stale = self.store.meta("epoch") != self.index.epoch or self.index.wants_rebuild
            return is_stale or self._is_requested() or self._reports.report.retry_at > 0

    def _is_requested(self) -> bool:
        """Whether the epoch was asked for, and its index is not known to be saved."""
        return bool(self.store.meta(REQUESTED_AT)) and self.store.meta("epoch") != self._reports.report.built

    def _rebuild(self) -> None:
        """The index there is answers until the new one is ready. What fails is reported, and tried again later."""
        with self._lock:
            epoch, is_requested = self.store.meta("epoch"), self._is_requested()
            started_at = float(self.store.meta(REQUESTED_AT)) if is_requested else time.time()
            # Else it was rebuilt already, by a start without a saved index or before the process died.
            is_needed = epoch != self.index.epoch or self.index.wants_rebuild
        self._reports.begin(epoch, started_at)
        try:
            if is_needed:
                self._replace_index()
            if self.index.wants_graph:
                self._extend_graph()
            self._reports.advance(SAVING, 0, self.index.vectors.count)
            self._save()
        except Exception as error:  # whatever it is, searches go on and the next try comes
            self._log(f"catalogue: the rebuild failed: {type(error).__name__}: {error}")
            self._reports.fail(_sentence(error))
        else:
            photos = int(self.index.vectors.alive.sum())
            seconds = self._reports.end(photos)
            self._log(f"catalogue: rebuilt, {photos} rows, {seconds:.2f} s after it was due")

    def _replace_index(self) -> None:
        own = SqliteCatalogueStore(self._folder)
        try:
            total = own.count()[0]
            self._check_room(total)
            index = self._saved.build(own, lambda rows: self._reports.advance(READING, rows, max(rows, total)))
            try:
                if index.wants_graph:
                    rows = index.vectors.count
                    index.use_graph(self._write_graph(index, rows), rows)
                index.follow(own)  # most of what was written meanwhile, while searches go on
                with self._lock:
                    index.follow(self.store)
                    old, self.index = self.index, index
            except BaseException:
                self._saved.discard(index)
                raise
            old.vectors.close()
        finally:
            own.close()

    def _check_room(self, rows: int) -> None:
        """Raises:
        NoRoom: the new index would take room that writes need.
        """
        needed_bytes = index_bytes(rows, self.index.vectors.dimension) + SPARE_BYTES
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes < needed_bytes:
            raise NoRoom(needed_bytes, free_bytes)

    def _extend_graph(self) -> None:
        index = self.index
        rows = index.vectors.count
        file = self._write_graph(index, rows)
        with self._lock:
            index.use_graph(file, rows)

    def _write_graph(self, index: VectorIndex, rows: int) -> Path:
        """A file with the graph of the first rows, those that have one already included."""
        file = self._saved.new_file("graph", "usearch")
        start = index.graph_rows
        matrix = index.vectors.matrix[start:rows]
        try:
            build_graph(index.graph_file, start, matrix, file, GRAPH_THREADS, lambda done: self._report(done, rows))
            sync_file(file)  # here, where no search waits for it
        except BaseException:
            file.unlink(missing_ok=True)
            raise
        return file

    def _report(self, done: int, total: int) -> None:
        if self._reports.report.phase:  # a graph is extended without a rebuild too
            self._reports.advance(BUILDING, done, total)

    def _save(self) -> None:
        self.index.vectors.sync()  # most of it, while searches go on
        with self._lock:
            self._saved.save(self.index)
            self._saved_tip = self.index.tip

    def _repeat(self, work: Callable[[], None]) -> None:
        while True:
            time.sleep(PERIOD_S)
            try:
                work()
            except Exception as error:  # a full disk: the store is untouched and searches go on
                self._log(f"catalogue: {type(error).__name__}: {error}")
                time.sleep(QUIET_S)


class NoRoom(OSError):
    """The disk has less room than the index needs."""

    def __init__(self, needed_bytes: int, free_bytes: int) -> None:
        text = f"The new index needs {needed_bytes >> 20} MB on the disk, {free_bytes >> 20} MB are free."
        super().__init__(errno.ENOSPC, text)


def _sentence(error: Exception) -> str:
    """What the caller is told of a failure: never its own words."""
    if isinstance(error, NoRoom):
        return f"{error.strerror} Make room."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk of the index is full. Make room."
    if isinstance(error, OSError):
        return "The folder of the index cannot be written. The server's log says why."
    if isinstance(error, StoreFault):
        return "The catalogue's file cannot be read. The server's log says why."
    if isinstance(error, MemoryError):
        return "The server has too little memory for the new index."
    return "The rebuild failed. The server's log says why."
