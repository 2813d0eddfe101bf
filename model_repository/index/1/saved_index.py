"""What the index keeps on disk beside the store, to start without reading every embedding: a cache, never the truth.

`state.json` is written last and names the other files with their size and a digest of their ends. Anything that is not
as it says, and any history that is not the store's, is thrown away and built anew from the store.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from engine import EXACT_BELOW, Engine
from store import Store, Tip
from vectors import Vectors, VectorsTaken

FORMAT = 1
_ENDS_BYTES = 1 << 20


class SavedIndex:
    """The folder of these files."""

    def __init__(self, folder: Path, dimension: int, exact_below: int = EXACT_BELOW) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        # While a release takes over, the index of each has the folder; neither may remove what the other has open.
        self._owner = secrets.token_hex(4)
        self._lock = (folder / f"owner-{self._owner}.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._dimension = dimension
        self._exact_below = exact_below
        self._state = folder / "state.json"

    def open(self, store: Store) -> tuple[Engine, str]:
        """The engine, at the store's tip, and how it came about.

        Raises:
            OSError: the folder cannot be written.
        """
        try:
            engine = self._load(store)
            how = f"loaded {engine.vectors.count} rows"
        except FileNotFoundError:
            how = "built: nothing saved yet"
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, VectorsTaken) as error:
            how = f"built: the saved index was not used ({error})"
        else:
            engine.follow(store)
            return engine, how
        return self.build(store), how

    def build(self, store: Store) -> Engine:
        """An engine of all that is in the store, without a graph yet."""
        empty = np.empty(0, np.int64)
        file = self.new_file("vectors", "f32")
        vectors = Vectors(file, self._dimension, empty, empty, empty.astype(np.bool_))
        engine = Engine(vectors, store.meta("epoch"), self._exact_below)
        engine.follow(store)
        return engine

    def new_file(self, kind: str, suffix: str) -> Path:
        return self.folder / f"{kind}-{self._owner}-{secrets.token_hex(4)}.{suffix}"

    def close(self) -> None:
        """Lets others remove what nobody names any more."""
        self._lock.close()

    def save(self, engine: Engine) -> None:
        """Everything onto the disk; then what nobody names any more is removed.

        Raises:
            OSError: the disk is full; what was saved before is still there.
        """
        vectors = engine.vectors
        rows = self.new_file("rows", "npz")
        with rows.open("wb") as file:
            np.savez(file, ids=vectors.ids, products=vectors.products, alive=vectors.alive)
            file.flush()
            os.fsync(file.fileno())
        vectors.sync()
        files = {"vectors": vectors.file, "rows": rows}
        if engine.graph_file is not None:
            _sync(engine.graph_file)
            files["graph"] = engine.graph_file
        state = {
            "format": FORMAT,
            "epoch": engine.epoch,
            "dimension": vectors.dimension,
            "count": vectors.count,
            "graph_rows": engine.graph_rows,
            "tip": asdict(engine.tip),
            "files": {kind: {"name": path.name, **_describe(path, kind)} for kind, path in files.items()},
        }
        staged = self.new_file("state", "tmp")
        staged.write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
        _sync(staged)
        staged.replace(self._state)
        _sync(self.folder)
        self._remove_others({path.name for path in files.values()})

    def _load(self, store: Store) -> Engine:
        state: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        expected = {"format": FORMAT, "epoch": store.meta("epoch"), "dimension": self._dimension}
        for name, value in expected.items():
            if state[name] != value:
                raise ValueError(f"its {name} is {state[name]!r}, expected {value!r}")
        tip = Tip(**state["tip"])
        if not store.has_commit(tip):
            raise ValueError("it followed another history than the store's")
        for kind, stated in state["files"].items():
            found = _describe(self.folder / stated["name"], kind)
            # The file of vectors grows while it is in use.
            is_whole = (
                found["size_bytes"] >= stated["size_bytes"] if kind == "vectors" else found.items() <= stated.items()
            )
            if not is_whole:
                raise ValueError(f"{stated['name']} is damaged")
        with np.load(self.folder / state["files"]["rows"]["name"]) as rows:
            arrays = rows["ids"], rows["products"], rows["alive"]
        vectors = Vectors(self.folder / state["files"]["vectors"]["name"], self._dimension, *arrays)
        try:
            engine = Engine(vectors, state["epoch"], self._exact_below)
            engine.tip = tip
            if "graph" in state["files"]:
                engine.use_graph(self.folder / state["files"]["graph"]["name"], state["graph_rows"])
        except BaseException:
            vectors.close()
            raise
        return engine

    def _remove_others(self, names: set[str]) -> None:
        for path in sorted(self.folder.glob("*-*")):  # locks after most of what their owners made
            owner = path.stem.split("-")[1]
            is_mine = owner == self._owner
            if path.name in names or (is_mine and path.suffix == ".lock"):
                continue
            if is_mine or not _is_held(self.folder / f"owner-{owner}.lock"):
                path.unlink(missing_ok=True)


def _is_held(lock: Path) -> bool:
    """Whether a process that lives has it."""
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


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


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
