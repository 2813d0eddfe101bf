"""The index's files on disk, which let a server start without reading every embedding: a cache of the store.

`state.json` is written last, and names the other files with their sizes and checksums. When it or the file of rows is
damaged, or the state is not of the store's history, the index is built again from the store. The checksums of vectors
and graph are compared at their first use (`VectorIndex.check`, `open_graph`): reading them takes longer than a start.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np

from triptych_models.catalogue.file_locks import is_held
from triptych_models.catalogue.files.checksums import Checksums
from triptych_models.catalogue.files.index_files import (
    FORMAT,
    STATE,
    file_checksum,
    read_state,
    refuse_damaged,
    state_checksum,
)
from triptych_models.catalogue.records import Ids, Tip
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.search.index_repair import IndexRepair
from triptych_models.search.vector_index import VectorIndex
from triptych_models.search.vectors import Vectors, VectorsTaken, new_rows


class SavedIndex:
    """The folder of the index's files.

    Args:
        folder: created where it is missing.
        dimension: dimension of an embedding.
        exact_below: up to this many photos a search compares all of them.
        log: writes one line about each damage.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, dimension: int, exact_below: int, log: Callable[[str], None]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        # During a rollout two processes use the folder; neither may remove files that the other one has open.
        self._owner = secrets.token_hex(4)
        self._lock = _hold(folder / f"owner-{self._owner}.lock")
        self._dimension = dimension
        self._exact_below = exact_below
        self._log = log
        self._state = folder / STATE
        self.is_outdated = False  # whether what was loaded has no checksums

    def open(self, store: SqliteCatalogueStore) -> tuple[VectorIndex, str]:
        """The index at the store's tip, and a log text about its origin.

        Raises:
            OSError: the folder cannot be written.
        """
        self._remove_others(self._named())  # what killed processes have left
        try:
            index = self._load(store)
            how = f"loaded {index.vectors.count} rows"
        except FileNotFoundError:
            how = "built: nothing saved yet"
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, VectorsTaken) as error:
            how = f"built: the saved index was not used ({error})"
        else:
            index.catch_up(store)
            return index, how
        return self.build(store), how

    def build(self, store: SqliteCatalogueStore, progress: Callable[[int], None] = lambda rows: None) -> VectorIndex:
        """An index of all photos of the store, without an HNSW graph.

        Raises:
            OSError: the disk is full; no file is left.
        """
        vectors = Vectors(self.new_file("vectors", "f32"), self._dimension, *new_rows())
        index = VectorIndex(vectors, store.meta("epoch"), self._exact_below, IndexRepair(store, self._log))
        try:
            index.read(store, progress)
            index.catch_up(store)
        except BaseException:
            self.discard(index)
            raise
        return index

    def discard(self, index: VectorIndex) -> None:
        """Removes the files of an index that is not in use."""
        index.vectors.close()
        for file in (index.vectors.file, index.graph_file):
            if file is not None:
                file.unlink(missing_ok=True)

    def new_file(self, kind: str, suffix: str) -> Path:
        return self.folder / f"{kind}-{self._owner}-{secrets.token_hex(4)}.{suffix}"

    def close(self) -> None:
        """Releases the lock, so that other processes may remove files that no state names."""
        self._lock.close()

    def save(self, index: VectorIndex) -> None:
        """Writes all files to the disk; then removes the files that the new state does not name.

        Raises:
            OSError: the disk is full; the state saved before is unchanged.
        """
        rows, staged = self.new_file("rows", "npz"), self.new_file("state", "tmp")
        try:
            kept = self._write(index, rows, staged)
        except BaseException:
            rows.unlink(missing_ok=True)  # repeated attempts would fill the disk
            staged.unlink(missing_ok=True)
            raise
        sync_file(self.folder)
        self._remove_others(kept)

    def _write(self, index: VectorIndex, rows: Path, staged: Path) -> set[str]:
        vectors = index.vectors
        with rows.open("wb") as file:
            np.savez(
                file,
                ids=vectors.ids,
                products=vectors.products,
                alive=vectors.alive,
                checksums=vectors.checksums,
            )
            file.flush()
            os.fsync(file.fileno())
        vectors.sync()
        files = {"vectors": _describe(vectors.file), "rows": _describe(rows, file_checksum(rows))}
        if index.graph_file is not None:
            sync_file(index.graph_file)
            files["graph"] = _describe(index.graph_file, index.graph_checksum)
        state = {
            "format": FORMAT,
            "epoch": index.epoch,
            "dimension": vectors.dimension,
            "count": vectors.count,
            "graph_rows": index.graph_rows,
            "tip": asdict(index.tip),
            "files": files,
        }
        state["crc32"] = state_checksum(state)
        staged.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        sync_file(staged)
        staged.replace(self._state)
        return {file["name"] for file in files.values()}

    def _named(self) -> set[str]:
        """The files that the saved state names."""
        try:
            return {file["name"] for file in json.loads(self._state.read_text("utf-8"))["files"].values()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return set()

    def _load(self, store: SqliteCatalogueStore) -> VectorIndex:
        state = read_state(self._state)
        # An index of another epoch is valid too: it is searched until the requested rebuild is done.
        if state["dimension"] != self._dimension:
            raise ValueError(f"its dimension is {state['dimension']!r}; expected {self._dimension!r}")
        tip = Tip(**state["tip"])
        self._refuse_other_history(store, tip)
        files = {kind: (self.folder / stated["name"], stated) for kind, stated in state["files"].items()}
        for kind in ("vectors", "rows"):
            refuse_damaged(*files[kind], grows=kind == "vectors")
        with np.load(files["rows"][0]) as rows:
            arrays = rows["ids"], rows["products"], rows["alive"]
            checksums = rows["checksums"] if state["format"] == FORMAT else _checksums_of(store, arrays[0])
        vectors = Vectors(files["vectors"][0], self._dimension, *arrays, checksums)
        index = VectorIndex(vectors, state["epoch"], self._exact_below, IndexRepair(store, self._log))
        index.tip, self.is_outdated = tip, state["format"] != FORMAT
        if "graph" in files:
            index.offer_graph(files["graph"][0], state["graph_rows"], files["graph"][1].get("crc32"))
        return index

    def _refuse_other_history(self, store: SqliteCatalogueStore, tip: Tip) -> None:
        if store.has_commit(tip):
            return
        lost = tip.sequence - store.tip().sequence
        if lost > 0:
            self._log(
                f"catalogue: {store.file} lacks the last {lost} commits that the saved index has: its write-ahead log "
                "is missing or damaged, or the file is an older copy. Searches use what the file has."
            )
        raise ValueError("it is of another history than the store")

    def _remove_others(self, names: set[str]) -> None:
        for path in sorted(self.folder.glob("*-*")):  # sorted: an owner's lock comes after most of its files
            owner = path.stem.split("-")[1]
            is_mine = owner == self._owner
            if path.name in names or (is_mine and path.suffix == ".lock"):
                continue
            if is_mine or not is_held(self.folder / f"owner-{owner}.lock"):
                path.unlink(missing_ok=True)


def _hold(file: Path) -> IO[str]:
    """Creates a file and locks it; a process that starts meanwhile may take it for one that a killed process left."""
    while True:
        lock = file.open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), file.stat()):
                return lock
        lock.close()


def _describe(path: Path, checksum: int | None = None) -> dict[str, Any]:
    stated: dict[str, Any] = {"name": path.name, "size_bytes": path.stat().st_size}
    return stated if checksum is None else {**stated, "crc32": checksum}


def _checksums_of(store: SqliteCatalogueStore, ids: Ids) -> Checksums:
    """Checksums of rows of the store; of a photo that is deleted since, any."""
    stated = store.embedding_checksums()
    return np.array([stated.get(id_, 0) for id_ in ids.tolist()], np.uint32)


def sync_file(path: Path) -> None:
    """Writes a file's or folder's cached content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
