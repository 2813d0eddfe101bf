"""Keeps the index up to date with the store: before each search, and in threads that rebuild, extend and save it."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from triptych_models.catalogue.files.index_files import file_checksum
from triptych_models.catalogue.rebuild import BUILDING, READING, SAVING
from triptych_models.catalogue.records import Tip
from triptych_models.catalogue.settings import EXACT_BELOW, INDEX_FOLDER
from triptych_models.catalogue.sqlite_store import REQUESTED_AT, SqliteCatalogueStore
from triptych_models.errors import REMEDY, StoreFault
from triptych_models.search.rebuild_reports import NoObserver, RebuildObserver, RebuildReports
from triptych_models.search.saved_index import SavedIndex, sync_file
from triptych_models.search.store_inspection import StoreInspection
from triptych_models.search.vector_index import VectorIndex, build_graph, index_bytes

PERIOD_S = 0.25
# The index is saved after a pause of this length; a start before it reads the unsaved writes from the store.
QUIET_S = 5.0
# Half the cores: the others recognise photos at the same time.
GRAPH_THREADS = max(1, (os.cpu_count() or 2) // 2)

# Saved rows that are compared with their checksums in each round: 10 ms, so 100,000 rows in 6 s.
CHECKED_ROWS = 4096

# Pause after a full disk; on some file systems each attempt briefly takes the last free space.
RETRY_S = 1.0
# A rebuild leaves this much of the disk to writes of the catalogue.
SPARE_BYTES = 16 << 20


class IndexSync:
    """The searchable index of a catalogue folder.

    Args:
        folder: folder of the catalogue.
        dimension: dimension of an embedding.
        log: writes one line to the server's log.
        exact_below: up to this many photos a search compares all of them.
        observer: observer of rebuilds.

    Raises:
        StoreFault: the store cannot be opened, or the disk has no space for its index.
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
        self.store = SqliteCatalogueStore(folder, self._report)
        self._lock = threading.RLock()
        self._seen = self.store.data_version()
        started_s = time.monotonic()
        try:
            self._saved = SavedIndex(folder / INDEX_FOLDER, dimension, exact_below, log)
            self._reports = RebuildReports(folder / INDEX_FOLDER, log, observer or NoObserver())
            self.index, how = self._saved.open(self.store)
        except OSError as error:
            cause = error.strerror or error
            raise StoreFault(f"The index {folder / INDEX_FOLDER} cannot be created: {cause}. {REMEDY}") from error
        is_saved = how.startswith("loaded") and not self._saved.is_outdated
        self._saved_tip = self.index.tip if is_saved else Tip()
        self._changed_s = time.monotonic()
        self._retry_s = 0.0
        self._inspection = StoreInspection(folder, log)
        log(f"catalogue: {how} in {time.monotonic() - started_s:.2f} s")

    def start(self) -> None:
        """Starts two threads: one catches up with the store while the other rebuilds, which takes minutes."""
        for name, work in (("index-sync", self.maintain), ("index-catch-up", self.catch_up)):
            threading.Thread(target=self._repeat, args=(work,), name=name, daemon=True).start()

    def close(self) -> None:
        """Closes all files; not after `start`."""
        self.store.close()
        self.index.vectors.close()
        self._reports.close()
        self._saved.close()

    def lock(self) -> threading.RLock:
        """The lock to hold around several reads of one state."""
        return self._lock

    def catch_up(self) -> None:
        """Applies the store's writes: searches find every write acknowledged before the call.

        On a full disk searches miss the newest photos, which the store has; they appear once the disk has space.
        """
        with self._lock:
            version, now_s = self.store.data_version(), time.monotonic()
            if version == self._seen or now_s < self._retry_s:
                return
            try:
                self.index.catch_up(self.store)
            except OSError as error:
                self._retry_s = now_s + RETRY_S
                self._log(f"catalogue: searches do not find the newest photos: {error}")
                return
            self._seen, self._changed_s = version, now_s

    def maintain(self) -> None:
        """One round of background work: catch up, check, rebuild, extend the graph, save."""
        self.catch_up()
        with self._lock:
            self.index.open_graph()
            if self.index.vectors.unchecked:
                self.index.check(self.index.vectors.next_unchecked(CHECKED_ROWS))
        self._reports.retry_write()
        if self._wants_rebuild() and not self._reports.is_waiting:
            if not self._reports.acquire():
                return  # a process of the previous release rebuilds and owns the report until it is done
            self._rebuild()
        if self.index.wants_graph:
            self._extend_graph()
            self._save()
            self._log(f"catalogue: the HNSW graph covers {self.index.graph_rows} rows")
        elif self.index.tip != self._saved_tip and time.monotonic() - self._changed_s > QUIET_S:
            self._save()
        self._inspection.step()

    def _wants_rebuild(self) -> bool:
        with self._lock:
            is_stale = self.store.meta("epoch") != self.index.epoch or self.index.wants_rebuild
            return is_stale or self._is_requested() or self._reports.report.retry_at > 0

    def _is_requested(self) -> bool:
        """Whether a rebuild was requested whose index is not known to be saved."""
        return bool(self.store.meta(REQUESTED_AT)) and self.store.meta("epoch") != self._reports.report.built

    def _rebuild(self) -> None:
        """Rebuilds while searches use the current index. A failure is reported, and retried later."""
        with self._lock:
            epoch, is_requested = self.store.meta("epoch"), self._is_requested()
            started_at = float(self.store.meta(REQUESTED_AT)) if is_requested else time.time()
            # Otherwise the index is already rebuilt: at a start without a saved index, or before the process died.
            is_needed = epoch != self.index.epoch or self.index.wants_rebuild
        self._reports.begin(epoch, started_at)
        try:
            if is_needed:
                self._replace_index()
            if self.index.wants_graph:
                self._extend_graph()
            self._reports.advance(SAVING, 0, self.index.vectors.count)
            self._save()
        except Exception as error:  # any failure: searches continue and the next attempt follows
            self._log(f"catalogue: the rebuild failed: {type(error).__name__}: {error}")
            self._reports.fail(_sentence(error))
        else:
            photos = int(self.index.vectors.alive.sum())
            seconds = self._reports.end(photos)
            self._log(f"catalogue: rebuilt the index of {photos} rows, {seconds:.2f} s after the request")

    def _replace_index(self) -> None:
        own = SqliteCatalogueStore(self._folder, self._report)
        try:
            total = own.count()[0]
            self._check_room(total)
            index = self._saved.build(own, lambda rows: self._reports.advance(READING, rows, max(rows, total)))
            try:
                if index.wants_graph:
                    rows = index.vectors.count
                    index.use_graph(*self._write_graph(index, rows))
                index.catch_up(own)  # most writes since the read, while searches run
                with self._lock:
                    index.catch_up(self.store)
                    old, self.index = self.index, index
            except BaseException:
                self._saved.discard(index)
                raise
            old.vectors.close()
        finally:
            own.close()

    def _check_room(self, rows: int) -> None:
        """Checks the free disk space for a new index.

        Raises:
            NoRoom: the new index would take disk space that writes need.
        """
        needed_bytes = index_bytes(rows, self.index.vectors.dimension) + SPARE_BYTES
        free_bytes = shutil.disk_usage(self._folder).free
        if free_bytes < needed_bytes:
            raise NoRoom(needed_bytes, free_bytes)

    def _extend_graph(self) -> None:
        index = self.index
        rows = index.vectors.count
        with self._lock:
            index.check(np.arange(index.graph_rows, rows))
        written = self._write_graph(index, rows)
        with self._lock:
            index.use_graph(*written)

    def _write_graph(self, index: VectorIndex, rows: int) -> tuple[Path, int, int]:
        """Writes a file with the graph of the first `rows` rows, including those of the current graph.

        Returns the file, `rows`, and the file's checksum.
        """
        file = self._saved.new_file("graph", "usearch")
        start = index.graph_rows
        matrix = index.vectors.matrix[start:rows]
        try:
            build_graph(index.graph_file, start, matrix, file, GRAPH_THREADS, lambda done: self._advance(done, rows))
            sync_file(file)  # here, because no search waits for it
            return file, rows, file_checksum(file)
        except BaseException:
            file.unlink(missing_ok=True)
            raise

    def _advance(self, done: int, total: int) -> None:
        if self._reports.report.phase:  # the graph is also extended without a rebuild
            self._reports.advance(BUILDING, done, total)

    def _report(self, line: str) -> None:
        self._log(f"catalogue: {line}")

    def _save(self) -> None:
        self.index.vectors.sync()  # most of the data, while searches run
        with self._lock:
            self._saved.save(self.index)
            self._saved_tip = self.index.tip

    def _repeat(self, work: Callable[[], None]) -> None:
        while True:
            time.sleep(PERIOD_S)
            try:
                work()
            except Exception as error:  # a full disk for example: the store is unchanged and searches continue
                self._log(f"catalogue: {type(error).__name__}: {error}")
                time.sleep(QUIET_S)


class NoRoom(OSError):
    """The disk has less free space than the index needs."""

    def __init__(self, needed_bytes: int, free_bytes: int) -> None:
        text = f"The new index needs {needed_bytes >> 20} MiB of disk space; {free_bytes >> 20} MiB are free."
        super().__init__(errno.ENOSPC, text)


def _sentence(error: Exception) -> str:
    """The sentence for the caller about a failure; the error's own text is only logged."""
    if isinstance(error, NoRoom):
        return f"{error.strerror} Free disk space."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk of the index is full. Free disk space."
    if isinstance(error, OSError):
        return "The folder of the index cannot be written. The server's log says why."
    if isinstance(error, StoreFault):
        return "The catalogue's file cannot be read. The server's log says why."
    if isinstance(error, MemoryError):
        return "The server has too little memory for the new index."
    return "The rebuild failed. The server's log says why."
