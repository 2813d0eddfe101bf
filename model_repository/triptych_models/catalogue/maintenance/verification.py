"""Call `verify`: compares everything that the catalogue's folder has with its checksums, in steps of a second."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

from triptych_models.catalogue.files import index_files
from triptych_models.catalogue.files.checksums import TEXT_COLUMNS, embedding_checksum, text_checksum
from triptych_models.catalogue.files.sqlite_file import CatalogueFile
from triptych_models.catalogue.filters import attributes_of
from triptych_models.catalogue.settings import INDEX_FOLDER
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import ServingError

ROWS, FILES = "photos", "files"
# Photos of one step: 50 ms.
_STEP_ROWS = 2000
# Other calls of `catalogue` wait while a step waits.
_WAIT_S = 0.5
_MAX_SENTENCES = 100

Answer = dict[str, Any]


class Verification:
    """Steps of verifications; the server keeps nothing of one but the thread that reads the files.

    Args:
        store: store of model `catalogue`.
        folder: folder of the store.
    """

    def __init__(self, store: SqliteCatalogueStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._reading: threading.Thread | None = None
        self._damage: list[str] = []

    def step(self, part: str, after: int) -> Answer:
        """The damage that one step found, and `next`, the arguments of the next step; None at the end.

        Args:
            part: ROWS, then FILES.
            after: id of the last photo that was compared.
        """
        if part == ROWS:
            return self._compare_rows(after)
        return self._read_files()

    def _compare_rows(self, after: int) -> Answer:
        with self._store.snapshot():
            damage, last, compared = compare_rows(self._store, after, _STEP_ROWS)
        follows = {"part": ROWS, "after": last} if compared else {"part": FILES, "after": 0}
        return {"part": ROWS, "compared": compared, "damaged": damage, "next": follows}

    def _read_files(self) -> Answer:
        if self._reading is None:
            self._reading = threading.Thread(target=self._find_damage, name="catalogue-verify", daemon=True)
            self._reading.start()
        self._reading.join(_WAIT_S)
        if self._reading.is_alive():
            return {"part": FILES, "compared": 0, "damaged": [], "next": {"part": FILES, "after": 0}}
        self._reading = None
        return {"part": FILES, "compared": 0, "damaged": self._damage, "next": None}

    def _find_damage(self) -> None:
        try:
            self._damage = [*_structure(self._folder), *index_files.find_damage(self._folder / INDEX_FOLDER)]
        except (sqlite3.Error, OSError, ServingError) as error:
            self._damage = [f"the catalogue's files cannot be read: {error}"]


def compare_rows(store: SqliteCatalogueStore, after: int, limit: int) -> tuple[list[str], int, int]:
    """Sentences about damaged photos, the last id, and how many photos were compared."""
    rows = store.read(
        f"SELECT id, photos.embedding, checksums.embedding, texts, {TEXT_COLUMNS} FROM photos "
        "LEFT JOIN products ON key = product LEFT JOIN checksums ON photo = id WHERE id > ? ORDER BY id LIMIT ?",
        (after, limit),
    )
    if not rows:
        return [], after, 0
    last = int(rows[-1][0])
    attributes: dict[int, set[Any]] = defaultdict(set)
    for id_, name, value in store.read(
        "SELECT photo, name, value FROM attributes WHERE photo > ? AND photo <= ?", (after, last)
    ):
        attributes[id_].add((name, value))
    damage = []
    for id_, embedding, stated, stated_texts, *texts in rows:
        wrong = _wrong_part(embedding, stated, stated_texts, texts, attributes[id_])
        if wrong:
            damage.append(f"{wrong} of {store.describe(id_)}")
    return damage, last, len(rows)


def _wrong_part(embedding: bytes, stated: Any, stated_texts: Any, texts: list[Any], attributes: set[Any]) -> str:
    if stated is None:
        return "the checksum"  # every photo has one after the start
    if embedding_checksum(embedding) != stated:
        return "the embedding"
    if texts[0] is None or text_checksum(texts) != stated_texts:
        return "ids, fields or hashes"
    is_same = set(attributes_of(json.loads(texts[2]))) == attributes
    return "" if is_same else "the values that filters compare"


def _structure(folder: Path) -> list[str]:
    """SQLite's own check of pages and indexes, over a connection of its own."""
    file = CatalogueFile(folder)
    try:
        found = [row[0] for row in file.connection.execute(f"PRAGMA integrity_check({_MAX_SENTENCES})")]
    finally:
        file.close()
    return [] if found == ["ok"] else [f"catalogue.sqlite3: {sentence}" for sentence in found]
