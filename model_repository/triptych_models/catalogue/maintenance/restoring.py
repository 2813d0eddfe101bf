"""Call `restore`: photos arrive in pages in a file beside the catalogue, and replace its photos in one transaction."""

from __future__ import annotations

import contextlib
import fcntl
import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from triptych_models.catalogue.file_locks import is_held
from triptych_models.catalogue.files.checksums import embedding_checksum, text_checksum
from triptych_models.catalogue.filters import attributes_of
from triptych_models.catalogue.records import Floats, Item
from triptych_models.catalogue.sqlite_store import SqliteCatalogueStore
from triptych_models.errors import InvalidRequest, StoreFault

# Key in `meta`: the last restore that was committed.
RESTORED = "restored"

_STAGED = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
CREATE TABLE photos (
    id INTEGER PRIMARY KEY, product_id TEXT, photo_id TEXT, fields TEXT, image_digest TEXT, phash TEXT, embedding BLOB,
    embedding_checksum INTEGER, texts_checksum INTEGER, UNIQUE (product_id, photo_id)
);
CREATE TABLE attributes (name TEXT, value, photo INTEGER);
"""
_REPLACE = (
    "INSERT INTO removed (photo) SELECT id FROM main.photos",
    "DELETE FROM main.attributes",
    "DELETE FROM main.checksums",
    "DELETE FROM main.photos",
    "DELETE FROM main.products",
    "INSERT INTO main.products (product_id) SELECT product_id FROM staged.photos GROUP BY product_id ORDER BY min(id)",
    "INSERT INTO main.photos (id, product, photo_id, fields, image_digest, phash, embedding) "
    "SELECT :base + id, key, photo_id, fields, image_digest, phash, embedding FROM staged.photos "
    "JOIN main.products USING (product_id) ORDER BY id",
    "INSERT INTO main.checksums SELECT :base + id, embedding_checksum, texts_checksum FROM staged.photos",
    "INSERT INTO main.attributes SELECT DISTINCT name, value, :base + photo FROM staged.attributes",
)


class Restores:
    """At most one restore at a time; a second one ends the first.

    Args:
        store: store of model `catalogue`.
        folder: folder of the store; files that killed processes have left are removed.
    """

    def __init__(self, store: SqliteCatalogueStore, folder: Path) -> None:
        self._store = store
        self._folder = folder
        self._token = ""
        self._count = 0
        self._lock: IO[str] | None = None
        self._staged: sqlite3.Connection | None = None
        for lock in folder.glob("restore-*.lock"):
            if not is_held(lock):
                self._remove(lock)

    def begin(self) -> str:
        """Starts a restore; returns its token."""
        self.abort()
        token = secrets.token_hex(8)
        try:
            self._lock = (self._folder / f"restore-{token}.lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            self._staged = sqlite3.connect(self._file(token), isolation_level=None, check_same_thread=False)
            self._staged.executescript(_STAGED)
        except (OSError, sqlite3.Error) as error:
            self.abort()
            raise StoreFault(f"A restore cannot be started in {self._folder}: {error}. Free disk space.") from error
        self._token, self._count = token, 0
        return token

    def add(self, token: str, at: int, items: Sequence[tuple[Item, list[int] | None]], embeddings: Floats) -> int:
        """Adds photos from place `at` on; the same call again has no effect. Returns the photos so far.

        Raises:
            InvalidRequest: the restore has ended, photos before `at` are missing, or a photo does not match its
                checksums.
        """
        self._refuse_other(token)
        if at + len(items) == self._count:
            return self._count  # a repeated request
        if at != self._count:
            raise InvalidRequest(f"`at` is {at}; expected {self._count}, the photos that were received.")
        with self._staging() as staged:
            for place, ((item, stated), embedding) in enumerate(zip(items, embeddings, strict=True), start=at + 1):
                self._stage(staged, place, item, stated, embedding.astype("<f4").tobytes())
        self._count = at + len(items)
        return self._count

    def _stage(
        self, staged: sqlite3.Connection, place: int, item: Item, stated: list[int] | None, content: bytes
    ) -> None:
        texts = (item.product_id, item.photo_id, json.dumps(item.fields, ensure_ascii=False))
        texts += (item.image_digest, item.phash)  # type: ignore[assignment]
        checksums = [embedding_checksum(content), text_checksum(texts)]
        if stated is not None and stated != checksums:
            raise InvalidRequest(f"Photo {place} of the restore does not match its checksums. Use another backup.")
        staged.execute("INSERT INTO photos VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (place, *texts, content, *checksums))
        staged.executemany(
            "INSERT INTO attributes VALUES (?, ?, ?)",
            [(name, value, place) for name, value in attributes_of(item.fields)],
        )

    def commit(self, token: str, photos: int, fingerprint: str, dimension: int) -> tuple[int, int]:
        """Replaces the catalogue's photos, all or none. Returns its photos and products.

        Raises:
            InvalidRequest: the restore has ended, or has another number of photos.
            StoreFault: the disk is full, for example; the catalogue is unchanged.
        """
        if token and self._store.meta(RESTORED) == token:
            return self._store.count()  # a repeated request
        self._refuse_other(token)
        if photos != self._count:
            raise InvalidRequest(f"`photos` is {photos}; the restore has received {self._count}. Start it again.")
        values = {"fingerprint": fingerprint, "dimension": str(dimension), RESTORED: token} if photos else {}
        self._store.replace_all(self._file(token), _REPLACE, values or {RESTORED: token})
        self._store.request_rebuild()  # searches use the photos at once; the new index leaves the replaced ones behind
        self.abort()
        return self._store.count()

    def abort(self) -> None:
        """Ends the restore and removes its files; the catalogue is as it was."""
        if self._staged is not None:
            self._staged.close()
        if self._lock is not None:
            self._remove(Path(self._lock.name))
            self._lock.close()
        self._staged, self._lock, self._token = None, None, ""

    def _refuse_other(self, token: str) -> None:
        if not token or token != self._token:
            raise InvalidRequest(
                "This restore has ended: the server was restarted, or another restore began. Start it again; the "
                "catalogue is unchanged."
            )

    @contextlib.contextmanager
    def _staging(self) -> Iterator[sqlite3.Connection]:
        """The staged file in a transaction. It has no journal: after a failure the restore is over."""
        assert self._staged is not None
        try:
            self._staged.execute("BEGIN")
            yield self._staged
            self._staged.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            self.abort()
            raise InvalidRequest(
                "A photo is in this restore twice; expected each once. Nothing was changed."
            ) from error
        except sqlite3.Error as error:
            self.abort()
            raise StoreFault(f"The restore in {self._folder} has failed: {error}. Free disk space.") from error
        except BaseException:
            self.abort()
            raise

    def _file(self, token: str) -> Path:
        return self._folder / f"restore-{token}.sqlite3"

    def _remove(self, lock: Path) -> None:
        for file in (lock.with_suffix(".sqlite3"), lock):
            with contextlib.suppress(OSError):
                file.unlink()
