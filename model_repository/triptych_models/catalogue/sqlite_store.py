"""The embedded catalogue store: products, photos, fields and embeddings in one SQLite file, the source of truth.

A photo's row never changes: an upsert of an existing photo removes its row and adds a row with a higher id. Ids are
never used again. A reader catches up by reading the rows after the last id and the removals after the last removal
that it has read. A write is durable when `upsert` or `delete` returns: write-ahead log, synced at every commit.
"""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from triptych_models.catalogue.filters import Condition, attributes_of, to_sql
from triptych_models.catalogue.records import Floats, Ids, Item, Photo, Tip
from triptych_models.catalogue.settings import EXACT_BELOW
from triptych_models.errors import REMEDY, InvalidRequest, StoreFault

FILE = "catalogue.sqlite3"
FORMAT = 1
# Another process may hold the write lock for one transaction of 256 photos.
BUSY_TIMEOUT_S = 30.0
# Key in `meta`: time of the last rebuild request, in seconds since 1970; missing before the first request.
REQUESTED_AT = "rebuild_requested_at"

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE products (key INTEGER PRIMARY KEY AUTOINCREMENT, product_id TEXT NOT NULL UNIQUE);
CREATE TABLE photos (
    id INTEGER PRIMARY KEY AUTOINCREMENT, product INTEGER NOT NULL REFERENCES products (key), photo_id TEXT NOT NULL,
    fields TEXT NOT NULL, image_digest TEXT, phash TEXT, embedding BLOB NOT NULL, UNIQUE (product, photo_id)
);
CREATE TABLE attributes (name TEXT, value, photo INTEGER, PRIMARY KEY (name, value, photo)) WITHOUT ROWID;
CREATE INDEX attributes_of_photo ON attributes (photo);
CREATE TABLE removed (position INTEGER PRIMARY KEY AUTOINCREMENT, photo INTEGER NOT NULL);
CREATE TABLE commits (sequence INTEGER PRIMARY KEY AUTOINCREMENT, token TEXT NOT NULL);
"""


class SqliteCatalogueStore:
    """One connection, for one thread.

    Args:
        folder: folder of the file; created where it is missing.

    Raises:
        StoreFault: the folder cannot be written, or the file is of a newer version or not a catalogue; the file is
            unchanged.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        with self._translated_errors():
            folder.mkdir(parents=True, exist_ok=True)
            _refuse_newer(self.file, _header_version(self.file))
            self._connection = sqlite3.connect(
                self.file, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
            )
            self._prepare_when_free()

    def _prepare_when_free(self) -> None:
        """`index` and `catalogue` may create the file at the same moment. While one of them changes the journal mode,
        SQLite reports "locked" to the other one at once, whatever the timeout.
        """
        deadline_s = time.monotonic() + BUSY_TIMEOUT_S
        while True:
            try:
                self._prepare()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline_s:
                    raise
                time.sleep(0.05)
            else:
                return

    def _prepare(self) -> None:
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        _refuse_newer(self.file, version)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = FULL")
        if version == FORMAT:
            return
        with self._transaction():
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:  # no other process has created the tables meanwhile
                for statement in _SCHEMA.split(";"):
                    self._connection.execute(statement)
                self._connection.execute(f"PRAGMA user_version = {FORMAT}")
                self._connection.execute("INSERT INTO meta VALUES ('epoch', ?)", (os.urandom(8).hex(),))

    @contextmanager
    def _translated_errors(self, kinds: tuple[type[Exception], ...] = (sqlite3.Error, OSError)) -> Iterator[None]:
        try:
            yield
        except kinds as error:
            cause = error.strerror if isinstance(error, OSError) else str(error)
            raise StoreFault(
                f"The catalogue {self.file} cannot be used: {cause}. Nothing of this request was written. {REMEDY}"
            ) from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        self._connection.close()

    def upsert(self, items: Sequence[Item], embeddings: Floats, fingerprint: str) -> int:
        """Writes all items or none; embeddings float32[N,D], L2 norm 1. Returns the sequence of the commit.

        Raises:
            StoreFault: the disk is full, or the file cannot be written.
        """
        with self._translated_errors(), self._transaction():
            self._set_meta("fingerprint", fingerprint)
            self._set_meta("dimension", str(embeddings.shape[1]))
            for item, embedding in zip(items, embeddings, strict=True):
                self._connection.execute(
                    "INSERT INTO products (product_id) VALUES (?) ON CONFLICT DO NOTHING", (item.product_id,)
                )
                product = self.product_key(item.product_id)
                self._remove("product = ? AND photo_id = ?", (product, item.photo_id))
                made = self._connection.execute(
                    "INSERT INTO photos (product, photo_id, fields, image_digest, phash, embedding) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (
                        product, item.photo_id, json.dumps(item.fields, ensure_ascii=False), item.image_digest,
                        item.phash, embedding.astype("<f4").tobytes(),
                    ),
                )  # fmt: skip
                self._connection.executemany(
                    "INSERT INTO attributes VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    [(name, value, made.lastrowid) for name, value in attributes_of(item.fields)],
                )
            return self._commit_sequence()

    def delete(self, product_ids: Sequence[str]) -> int:
        """See `CatalogueStore`.

        Raises:
            StoreFault: see `upsert`.
        """
        deleted = 0
        with self._translated_errors(), self._transaction():
            for product_id in dict.fromkeys(product_ids):
                product = self.product_key(product_id)
                if product is not None:
                    self._remove("product = ?", (product,))
                    self._connection.execute("DELETE FROM products WHERE key = ?", (product,))
                    deleted += 1
            self._commit_sequence()
        return deleted

    def request_rebuild(self, check: Callable[[], None] | None = None) -> str:
        """Gives the store a new epoch, which requests a rebuild of every index. Returns the epoch.

        Args:
            check: called while no other process can write; its exception is raised and nothing changes.
        """
        epoch = os.urandom(8).hex()
        with self._translated_errors(), self._transaction():
            if check is not None:
                check()
            self._set_meta("epoch", epoch)
            self._set_meta(REQUESTED_AT, f"{time.time():.3f}")
            self._commit_sequence()
        return epoch

    def _remove(self, condition: str, values: tuple[Any, ...]) -> None:
        ids = self._connection.execute(f"SELECT id FROM photos WHERE {condition}", values).fetchall()
        for statement in (
            "INSERT INTO removed (photo) VALUES (?)",
            "DELETE FROM attributes WHERE photo = ?",
            "DELETE FROM photos WHERE id = ?",
        ):
            self._connection.executemany(statement, ids)

    def _commit_sequence(self) -> int:
        made = self._connection.execute("INSERT INTO commits (token) VALUES (?)", (os.urandom(8).hex(),))
        # Readers find the commit they read last. Older commits are deleted: a later reader rebuilds its index.
        self._connection.execute("DELETE FROM commits WHERE sequence <= ? - 100000", (made.lastrowid,))
        return int(made.lastrowid or 0)

    def _read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._translated_errors((sqlite3.Error,)):
            return self._connection.execute(sql, values).fetchall()

    def product_key(self, product_id: str) -> int | None:
        """The key of a product in `added_after`; None where the product does not exist."""
        rows = self._read("SELECT key FROM products WHERE product_id = ?", (product_id,))
        return int(rows[0][0]) if rows else None

    def _set_meta(self, key: str, value: str) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """All reads inside see one state. An OSError inside is the reader's own and is not translated."""
        with self._translated_errors((sqlite3.Error,)):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("COMMIT")

    def data_version(self) -> int:
        """A number that changes when another connection writes; takes microseconds."""
        return int(self._connection.execute("PRAGMA data_version").fetchone()[0])

    def meta(self, key: str) -> str:
        """Value of `epoch`, REQUESTED_AT, `fingerprint` or `dimension`; empty where it is not set."""
        rows = self._read("SELECT value FROM meta WHERE key = ?", (key,))
        return str(rows[0][0]) if rows else ""

    def tip(self) -> Tip:
        sequence, token = self._connection.execute(
            "SELECT sequence, token FROM commits ORDER BY sequence DESC LIMIT 1"
        ).fetchone() or (0, "")
        last = dict(self._connection.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
        return Tip(sequence, token, last.get("photos", 0), last.get("removed", 0))

    def has_commit(self, tip: Tip) -> bool:
        """Whether the store's history contains the commit of the tip."""
        if tip.sequence == 0:
            return True
        row = self._connection.execute("SELECT token FROM commits WHERE sequence = ?", (tip.sequence,)).fetchone()
        return row is not None and row[0] == tip.token

    def added_after(self, photo: int, limit: int) -> tuple[Ids, Ids, Floats]:
        """Ids, product keys and embeddings float32[N,D] of the rows after an id, in rising order."""
        rows = self._connection.execute(
            "SELECT id, product, embedding FROM photos WHERE id > ? ORDER BY id LIMIT ?", (photo, limit)
        ).fetchall()
        matrix = np.frombuffer(b"".join(row[2] for row in rows), "<f4").reshape(len(rows), -1) if rows else _EMPTY
        return np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], np.int64), matrix

    def removed_after(self, removal: int) -> Ids:
        rows = self._connection.execute("SELECT photo FROM removed WHERE position > ?", (removal,)).fetchall()
        return np.array([row[0] for row in rows], np.int64)

    def select(self, conditions: Sequence[Condition]) -> Ids:
        """Ids of the photos that meet all conditions, in no particular order."""
        return np.array([row[0] for row in self._read(*to_sql(conditions))], np.int64)

    def field_names(self) -> list[str]:
        """Every field that a photo has; one lookup in the primary key for each field."""
        rows = self._read(
            "WITH RECURSIVE names (name) AS (SELECT min(name) FROM attributes UNION ALL "
            "SELECT (SELECT min(a.name) FROM attributes a WHERE a.name > names.name) FROM names WHERE name NOT NULL) "
            "SELECT name FROM names WHERE name NOT NULL"
        )
        return [row[0] for row in rows]

    def get(self, product_id: str) -> list[Photo]:
        return self._photos("products.product_id = ? ORDER BY id", (product_id,))

    def product_ids(self) -> dict[int, str]:
        """Key -> product_id of every product."""
        return dict(self._connection.execute("SELECT key, product_id FROM products").fetchall())

    def rows(self, ids: Sequence[int]) -> dict[int, tuple[str, str, str, str | None, str | None]]:
        """Id -> product_id, photo_id, fields as JSON, image_digest, phash."""
        found = {}
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            marks = ", ".join("?" * len(part))
            for row in self._read(
                "SELECT id, product_id, photo_id, fields, image_digest, phash FROM photos "
                f"JOIN products ON key = product WHERE id IN ({marks})",
                part,
            ):
                found[row[0]] = row[1:]
        return found

    def activate(self) -> dict[str, Any]:
        """See `CatalogueStore`.

        Raises:
            InvalidRequest: always; the embedded store has one catalogue, which is always active.
        """
        raise InvalidRequest(
            "This server stores its own catalogue, which is always active. Only a catalogue in Weaviate needs "
            "`activate`; see TRIPTYCH_CATALOGUE_WEAVIATE."
        )

    def about(self) -> dict[str, Any]:
        """See `CatalogueStore`."""
        return {"engine": "embedded", "sequence": self.tip().sequence, "exact_below": EXACT_BELOW}

    def export(self, after: Any, limit: int) -> list[Photo]:
        """Photos after an id, in the order of their writes.

        Raises:
            InvalidRequest: `after` is not an id.
        """
        after = 0 if after is None else after
        if isinstance(after, bool) or not isinstance(after, int) or not 0 <= after < 2**63:
            raise InvalidRequest(f"`after` is {after!r}; expected a whole number from 0 to {2**63 - 1}.")
        return self._photos("id > ? ORDER BY id LIMIT ?", (after, limit))

    def _photos(self, condition: str, values: tuple[Any, ...]) -> list[Photo]:
        rows = self._read(
            "SELECT id, product_id, photo_id, fields, image_digest, phash, embedding FROM photos "
            f"JOIN products ON key = product WHERE {condition}",
            values,
        )
        return [
            Photo(id_, product_id, photo_id, json.loads(fields), digest, phash, np.frombuffer(embedding, "<f4"))
            for id_, product_id, photo_id, fields, digest, phash, embedding in rows
        ]

    def count(self, conditions: Sequence[Condition] = ()) -> tuple[int, int]:
        """Number of photos that meet the conditions, and number of their products."""
        sql, values = to_sql(conditions)
        among = f"WHERE id IN ({sql})" if conditions else ""
        ((photos, products),) = self._read(f"SELECT count(*), count(DISTINCT product) FROM photos {among}", values)
        return int(photos), int(products)


_EMPTY = np.empty((0, 0), np.float32)


def _header_version(file: Path) -> int:
    """SQLite's user_version, read without opening the file as a database, which might change the file.

    Source: sqlite.org/fileformat.html, "The Database Header": 4 bytes at offset 60, big-endian.
    """
    try:
        with file.open("rb") as content:
            header = content.read(64)
    except FileNotFoundError:
        return 0
    is_database = len(header) == 64 and header.startswith(b"SQLite format 3\0")
    return int(struct.unpack_from(">I", header, 60)[0]) if is_database else 0


def _refuse_newer(file: Path, version: int) -> None:
    if version > FORMAT:
        raise StoreFault(
            f"The catalogue {file} has version {version}, written by a newer Triptych; this release reads versions up "
            f"to {FORMAT}. The file is unchanged. Serve it with the newer release, or name another folder in "
            "TRIPTYCH_CATALOGUE_DIR."
        )
