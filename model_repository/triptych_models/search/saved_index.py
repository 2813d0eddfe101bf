"""The index's files on disk, which let a server start without reading every embedding: a cache of the store.

`state.json` is written last and names the other files with their size and a digest of their ends. When a file does not
match, or the state is not of the store's history, the index is built again from the store.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from triptych_models.catalogue.file_locks import is_held
from triptych_models.catalogue.records import Tip
from triptych_models.catalogue.settings import EXACT_BELOW
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.search.vector_index import VectorIndex
from triptych_models.search.vectors import Vectors, VectorsTaken

FORMAT = 1
_ENDS_BYTES = 1 << 20


class SavedIndex:
    """The folder of the index's files.

    Args:
        folder: created where it is missing.
        dimension: dimension of an embedding.
        exact_below: up to this many photos a search compares all of them.

    Raises:
        OSError: the folder cannot be written.
    """

    def __init__(self, folder: Path, dimension: int, exact_below: int = EXACT_BELOW) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        # During a rollout two processes use the folder; neither may remove files that the other one has open.
        self._owner = secrets.token_hex(4)
        self._lock = (folder / f"owner-{self._owner}.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._dimension = dimension
        self._exact_below = exact_below
        self._state = folder / "state.json"

    def open(self, store: SqliteCatalogueStore) -> tuple[VectorIndex, str]:
        """The index at the store's tip, and a log text about its origin.

        Raises:
            OSError: the folder cannot be written.
        """
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
        empty = np.empty(0, np.int64)
        file = self.new_file("vectors", "f32")
        vectors = Vectors(file, self._dimension, empty, empty, empty.astype(np.bool_))
        index = VectorIndex(vectors, store.meta("epoch"), self._exact_below)
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
            np.savez(file, ids=vectors.ids, products=vectors.products, alive=vectors.alive)
            file.flush()
            os.fsync(file.fileno())
        vectors.sync()
        files = {"vectors": vectors.file, "rows": rows}
        if index.graph_file is not None:
            sync_file(index.graph_file)
            files["graph"] = index.graph_file
        state = {
            "format": FORMAT,
            "epoch": index.epoch,
            "dimension": vectors.dimension,
            "count": vectors.count,
            "graph_rows": index.graph_rows,
            "tip": asdict(index.tip),
            "files": {kind: {"name": path.name, **_describe(path, kind)} for kind, path in files.items()},
        }
        staged.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        sync_file(staged)
        staged.replace(self._state)
        return {path.name for path in files.values()}

    def _load(self, store: SqliteCatalogueStore) -> VectorIndex:
        state: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        # An index of another epoch is valid too: it is searched until the requested rebuild is done.
        expected = {"format": FORMAT, "dimension": self._dimension}
        for name, value in expected.items():
            if state[name] != value:
                raise ValueError(f"its {name} is {state[name]!r}; expected {value!r}")
        tip = Tip(**state["tip"])
        if not store.has_commit(tip):
            raise ValueError("it is of another history than the store")
        for kind, stated in state["files"].items():
            found = _describe(self.folder / stated["name"], kind)
            # The file of vectors grows while it is used.
            is_whole = (
                found["size_bytes"] >= stated["size_bytes"] if kind == "vectors" else found.items() <= stated.items()
            )
            if not is_whole:
                raise ValueError(f"{stated['name']} is damaged")
        with np.load(self.folder / state["files"]["rows"]["name"]) as rows:
            arrays = rows["ids"], rows["products"], rows["alive"]
        vectors = Vectors(self.folder / state["files"]["vectors"]["name"], self._dimension, *arrays)
        try:
            index = VectorIndex(vectors, state["epoch"], self._exact_below)
            index.tip = tip
            if "graph" in state["files"]:
                index.use_graph(self.folder / state["files"]["graph"]["name"], state["graph_rows"])
        except BaseException:
            vectors.close()
            raise
        return index

    def _remove_others(self, names: set[str]) -> None:
        for path in sorted(self.folder.glob("*-*")):  # sorted: an owner's lock comes after most of its files
            owner = path.stem.split("-")[1]
            is_mine = owner == self._owner
            if path.name in names or (is_mine and path.suffix == ".lock"):
                continue
            if is_mine or not is_held(self.folder / f"owner-{owner}.lock"):
                path.unlink(missing_ok=True)


def _describe(path: Path, kind: str) -> dict[str, Any]:
    size_bytes = path.stat().st_size
    if kind == "vectors":
        return {"size_bytes": size_bytes}
    digest = hashlib.sha256()
    with path.open("rb") as file:
        digest.update(file.read(_ENDS_BYTES))
        file.seek(max(0, size_bytes - _ENDS_BYTES))
        digest.update(file.read(_ENDS_BYTES))
    return {"size_bytes": size_bytes, "ends_sha256": digest.hexdigest()}


def sync_file(path: Path) -> None:
    """Writes a file's or folder's cached content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
