"""The embedded catalogue store: products, photos, fields and embeddings in one SQLite file, the source of truth.

A photo's row never changes: an upsert of an existing photo removes its row and adds a row with a higher id. Ids are
never used again. A reader catches up by reading the rows after the last id and the removals after the last removal
that it has read. A write is durable when `upsert` or `delete` returns: write-ahead log, synced at every commit.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from triptych_models.catalogue.field_kinds import Holding
from triptych_models.catalogue.files import attributes
from triptych_models.catalogue.files.checksums import (
    COMPLETE_TO,
    TEXT_COLUMNS,
    PhotoRows,
    embedding_checksum,
    photo_rows,
    text_checksum,
)
from triptych_models.catalogue.files.disk_reserve import DiskReserve
from triptych_models.catalogue.files.sqlite_file import FILE, RESTORE, CatalogueFile
from triptych_models.catalogue.filters import Condition, attributes_of, to_sql
from triptych_models.catalogue.records import Floats, Ids, Item, Photo, Tip
from triptych_models.catalogue.settings import EXACT_BELOW
from triptych_models.errors import REMEDY, InvalidRequest, StoreFault, quoted

# Key in `meta`: time of the last rebuild request, in seconds since 1970; missing before the first request.
REQUESTED_AT = "rebuild_requested_at"


def _ignore(line: str) -> None:
    """Reports nothing."""


class SqliteCatalogueStore:
    """One connection, for one thread.

    Args:
        folder: folder of the file; created where it is missing.
        report: receives one line about each damaged photo that is left out.

    Raises:
        StoreFault: the folder cannot be written, or the file is of a newer version, damaged, lost, or of another
            catalogue; the file is unchanged.
    """

    def __init__(self, folder: Path, report: Callable[[str], None] = _ignore) -> None:
        self.file = folder / FILE
        self._report = report
        self._reported: set[int] = set()
        with self._translated_errors():
            self._opened = CatalogueFile(folder)
            self._connection = self._opened.connection
            self._transaction = self._opened.transaction
            self._reserve = DiskReserve(folder)

    @contextmanager
    def _translated_errors(self, kinds: tuple[type[Exception], ...] = (sqlite3.Error, OSError)) -> Iterator[None]:
        try:
            yield
        except kinds as error:
            cause = error.strerror if isinstance(error, OSError) else str(error)
            is_damaged = type(error) is sqlite3.DatabaseError  # "malformed", "not a database"
            raise StoreFault(
                f"The catalogue {self.file} cannot be used: {cause}. Nothing of this request was written. "
                f"{RESTORE if is_damaged else REMEDY}"
            ) from error

    def close(self) -> None:
        self._opened.close()

    def upsert(self, items: Sequence[Item], embeddings: Floats, fingerprint: str) -> int:
        """Writes all items or none; embeddings float32[N,D], L2 norm 1. Returns the sequence of the commit.

        Raises:
            StoreFault: the disk is full, or the file cannot be written.
        """
        with self._translated_errors(), self._transaction():
            self._set_meta("fingerprint", fingerprint)
            self._set_meta("dimension", str(embeddings.shape[1]))
            checksums = []
            for item, embedding in zip(items, embeddings, strict=True):
                self._connection.execute(
                    "INSERT INTO products (product_id) VALUES (?) ON CONFLICT DO NOTHING", (item.product_id,)
                )
                product = self.product_key(item.product_id)
                self._remove("product = ? AND photo_id = ?", (product, item.photo_id))
                content = embedding.astype("<f4").tobytes()
                texts = (item.photo_id, json.dumps(item.fields, ensure_ascii=False), item.image_digest, item.phash)
                made = self._connection.execute(
                    "INSERT INTO photos (product, photo_id, fields, image_digest, phash, embedding) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    (product, *texts, content),
                )
                checksums.append(
                    (made.lastrowid, embedding_checksum(content), text_checksum((item.product_id, *texts)))
                )
                self._connection.executemany(
                    "INSERT INTO attributes VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    [(name, value, made.lastrowid) for name, value in attributes_of(item.fields)],
                )
            self._connection.executemany("INSERT INTO checksums VALUES (?, ?, ?)", checksums)
            return self._commit_sequence()

    def delete(self, product_ids: Sequence[str]) -> int:
        """See `CatalogueStore`.

        Raises:
            StoreFault: see `upsert`.
        """
        with self._translated_errors():
            try:
                deleted = self._delete(product_ids)
            except sqlite3.OperationalError as error:
                # On a full disk a delete gets the space that was reserved for it.
                if "full" not in str(error) or not self._reserve.give():
                    raise
                deleted = self._delete(product_ids)
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # returns the space
            self._reserve.take()
        return deleted

    def _delete(self, product_ids: Sequence[str]) -> int:
        deleted = 0
        with self._transaction():
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

    def replace_all(self, staged: Path, statements: Sequence[str], meta: dict[str, str]) -> None:
        """Replaces all photos by those of a file, in one transaction.

        Args:
            staged: an SQLite file, attached as `staged`.
            statements: SQL in which `:base` is the last id.
            meta: values of `meta` to set.

        Raises:
            StoreFault: see `upsert`; nothing was changed.
        """
        with self._translated_errors():
            self._connection.execute("ATTACH ? AS staged", (str(staged),))
            try:
                with self._transaction():
                    values = {"base": self.tip().photo}
                    for statement in statements:
                        self._connection.execute(statement, values if ":base" in statement else ())
                    for key, value in meta.items():
                        self._set_meta(key, value)
                    self._commit_sequence()
            finally:
                self._connection.execute("DETACH staged")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _remove(self, condition: str, values: tuple[Any, ...]) -> None:
        ids = self._connection.execute(f"SELECT id FROM photos WHERE {condition}", values).fetchall()
        if not ids:
            return
        for statement in (
            "INSERT INTO removed (photo) VALUES (?)",
            "DELETE FROM attributes WHERE photo = ?",
            "DELETE FROM checksums WHERE photo = ?",
            "DELETE FROM photos WHERE id = ?",
        ):
            self._connection.executemany(statement, ids)

    def _commit_sequence(self) -> int:
        made = self._connection.execute("INSERT INTO commits (token) VALUES (?)", (os.urandom(8).hex(),))
        # After a commit of a release without checksums the next start adds them.
        self._connection.execute(
            "UPDATE meta SET value = ? WHERE key = ? AND value = ?",
            (str(made.lastrowid), COMPLETE_TO, str((made.lastrowid or 0) - 1)),
        )
        # Readers find the commit they read last. Older commits are deleted: a later reader rebuilds its index.
        self._connection.execute("DELETE FROM commits WHERE sequence <= ? - 100000", (made.lastrowid,))
        return int(made.lastrowid or 0)

    def read(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query."""
        with self._translated_errors((sqlite3.Error,)):
            return self._connection.execute(sql, values).fetchall()

    def product_key(self, product_id: str) -> int | None:
        """The key of a product in `added_after`; None where the product does not exist."""
        rows = self.read("SELECT key FROM products WHERE product_id = ?", (product_id,))
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
        rows = self.read("SELECT value FROM meta WHERE key = ?", (key,))
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
        """Ids, product keys and embeddings float32[N,D] of the rows after an id, in rising order.

        Raises:
            StoreFault: one of the rows is damaged.
        """
        found = self.rows_after(photo, limit)
        for id_ in found.ids[~found.sound].tolist():
            raise self.fault(id_)
        return found.ids, found.products, found.embeddings

    def rows_after(self, photo: int, limit: int) -> PhotoRows:
        """The rows after an id, in rising order; damaged ones are marked and reported."""
        found = photo_rows(
            self._connection.execute(
                "SELECT id, product, photos.embedding, checksums.embedding FROM photos "
                "LEFT JOIN checksums ON photo = id WHERE id > ? ORDER BY id LIMIT ?",
                (photo, limit),
            ).fetchall()
        )
        for id_ in found.ids[~found.sound].tolist():
            self._report_damage(id_, "no search finds it")
        return found

    def rows_of(self, ids: Ids) -> PhotoRows:
        """The rows of ids, in rising order; rows that do not exist are left out, damaged ones are marked."""
        marks = ", ".join(map(str, ids.tolist()))
        return photo_rows(
            self._connection.execute(
                "SELECT id, product, photos.embedding, checksums.embedding FROM photos "
                f"LEFT JOIN checksums ON photo = id WHERE id IN ({marks}) ORDER BY id"
            ).fetchall()
        )

    def embedding_checksums(self) -> dict[int, int]:
        """Id -> checksum of the embedding, of every photo that has one."""
        return dict(self._connection.execute("SELECT photo, embedding FROM checksums").fetchall())

    def removed_after(self, removal: int) -> Ids:
        rows = self._connection.execute("SELECT photo FROM removed WHERE position > ?", (removal,)).fetchall()
        return np.array([row[0] for row in rows], np.int64)

    def select(self, conditions: Sequence[Condition]) -> Ids:
        """Ids of the photos that meet all conditions, in no particular order."""
        return np.array([row[0] for row in self.read(*to_sql(conditions))], np.int64)

    def field_names(self) -> list[str]:
        return attributes.field_names(self.read)

    def has_field(self, field: str) -> bool:
        return attributes.has_field(self.read, field)

    def has_photos(self) -> bool:
        return bool(self.read("SELECT 1 FROM photos LIMIT 1"))

    def read_kind(self, field: str, *, is_text: bool, limit: int) -> Holding:
        return attributes.read_kind(self.read, field, is_text=is_text, limit=limit)

    def get(self, product_id: str) -> list[Photo]:
        return self._photos("products.product_id = ? ORDER BY id", (product_id,))

    def product_ids(self) -> dict[int, str]:
        """Key -> product_id of every product."""
        return dict(self._connection.execute("SELECT key, product_id FROM products").fetchall())

    def rows(self, ids: Sequence[int]) -> dict[int, tuple[str, str, str, str | None, str | None]]:
        """Id -> product_id, photo_id, fields as JSON, image_digest, phash; damaged rows are left out and reported."""
        found = {}
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            marks = ", ".join("?" * len(part))
            for id_, checksum, *texts in self.read(
                f"SELECT id, texts, {TEXT_COLUMNS} FROM photos JOIN products ON key = product "
                f"LEFT JOIN checksums ON photo = id WHERE id IN ({marks})",
                part,
            ):
                if checksum is None or checksum == text_checksum(texts):
                    found[id_] = tuple(texts)
                else:
                    self._report_damage(id_, "searches leave it out")
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
            raise InvalidRequest(f"`after` is {quoted(after)}; expected a whole number from 0 to {2**63 - 1}.")
        return self._photos("id > ? ORDER BY id LIMIT ?", (after, limit))

    def _photos(self, condition: str, values: tuple[Any, ...]) -> list[Photo]:
        photos = []
        for id_, embedding, stated, stated_texts, *texts in self.read(
            f"SELECT id, photos.embedding, checksums.embedding, texts, {TEXT_COLUMNS} FROM photos "
            f"JOIN products ON key = product LEFT JOIN checksums ON photo = id WHERE {condition}",
            values,
        ):
            is_whole = stated is None or (stated, stated_texts) == (embedding_checksum(embedding), text_checksum(texts))
            if not is_whole:
                raise self.fault(id_)
            product_id, photo_id, fields, digest, phash = texts
            vector = np.frombuffer(embedding, "<f4")
            photos.append(Photo(id_, product_id, photo_id, json.loads(fields), digest, phash, vector))
        return photos

    def describe(self, id_: int) -> str:
        """A photo's ids for a message, as far as they can be read."""
        rows = self.read("SELECT product_id, photo_id FROM photos JOIN products ON key = product WHERE id = ?", (id_,))
        return f"photo {rows[0][1]!a} of product {rows[0][0]!a} (row {id_})" if rows else f"row {id_}"

    def fault(self, id_: int) -> StoreFault:
        """The error about a damaged photo."""
        return StoreFault(
            f"The catalogue {self.file} is damaged: {self.describe(id_)} does not match its checksum. "
            "Add the photo again or delete the product; `triptych catalogue verify` lists all damage."
        )

    def _report_damage(self, id_: int, effect: str) -> None:
        if id_ not in self._reported:
            self._reported.add(id_)
            self._report(f"{self.fault(id_)} Until then {effect}.")

    def count(self, conditions: Sequence[Condition] = ()) -> tuple[int, int]:
        """Number of photos that meet the conditions, and number of their products."""
        sql, values = to_sql(conditions)
        among = f"WHERE id IN ({sql})" if conditions else ""
        ((photos, products),) = self.read(f"SELECT count(*), count(DISTINCT product) FROM photos {among}", values)
        return int(photos), int(products)
