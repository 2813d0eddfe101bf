"""Opening the catalogue's SQLite file: refuses a newer, foreign, lost or emptied one; adds tables and checksums."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import struct
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from triptych_models.catalogue.files import checksums
from triptych_models.catalogue.settings import INDEX_FOLDER
from triptych_models.errors import StoreFault

FILE = "catalogue.sqlite3"
FORMAT = 1
# The catalogue's identity: a folder with this file and without the SQLite file is no new catalogue; it lost its photos.
MARKER = "catalogue.id"
# Another process may hold the write lock for one transaction of 256 photos.
BUSY_TIMEOUT_S = 30.0
# Next step after damage to the file.
RESTORE = (
    "Stop the server, move the folder's files elsewhere, start the server and restore a backup: "
    "`triptych catalogue restore FILE`."
)

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

# Files that this process has open. Closing any descriptor of a file drops all POSIX locks of the process on it, among
# them those of SQLite: sqlite.org/howtocorrupt.html, "Posix advisory locks canceled".
_OPEN: Counter[Path] = Counter()


class CatalogueFile:
    """One connection to the file.

    Args:
        folder: folder of the file; created where it is missing.

    Raises:
        StoreFault: the file is of a newer version, of another catalogue or program, or lost; it is unchanged.
        sqlite3.Error, OSError: the file cannot be opened.
    """

    def __init__(self, folder: Path) -> None:
        self._file, self._marker = folder / FILE, folder / MARKER
        folder.mkdir(parents=True, exist_ok=True)
        self._refuse_loss()
        if not _OPEN[self._file]:
            self._refuse_newer(_header_version(self._file))
        self.connection = sqlite3.connect(
            self._file, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        _OPEN[self._file] += 1
        try:
            self.connection.text_factory = checksums.decode_text
            self._prepare_when_free()
            self._check_identity()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Closes the connection; may be called again."""
        if self.connection is not None:
            self.connection.close()
            _OPEN[self._file] -= 1
            self.connection = None  # type: ignore[assignment]  # nothing is called after `close`

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """A transaction that no other writer interrupts; an exception rolls it back."""
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise

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
        self.connection.execute("BEGIN")  # version and tables of one moment
        try:
            (version,) = self.connection.execute("PRAGMA user_version").fetchone()
            self._refuse_newer(version)
            self._refuse_other_program(version)
        finally:
            self.connection.execute("ROLLBACK")
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        if version != FORMAT:
            self._create()
        self._complete_checksums()

    def _create(self) -> None:
        with self.transaction():
            (version,) = self.connection.execute("PRAGMA user_version").fetchone()
            if version == 0:  # no other process has created the tables meanwhile
                for statement in (*_SCHEMA.split(";"), checksums.SCHEMA):
                    self.connection.execute(statement)
                self.connection.execute(f"PRAGMA user_version = {FORMAT}")
                values = [("epoch", os.urandom(8).hex()), ("identity", os.urandom(8).hex())]
                self.connection.executemany("INSERT INTO meta VALUES (?, ?)", values)

    def _complete_checksums(self) -> None:
        """Gives photos that a release without checksums wrote theirs; at other starts two lookups."""
        if self._meta(checksums.COMPLETE_TO) == str(self._sequence()):
            return
        done = -1
        while done:
            with self.transaction():
                self.connection.execute(checksums.SCHEMA)
                done = checksums.add_missing(self.connection)
                if not done:
                    self.connection.execute("DELETE FROM checksums WHERE photo NOT IN (SELECT id FROM photos)")
                    self._set_meta(checksums.COMPLETE_TO, str(self._sequence()))

    def _check_identity(self) -> None:
        """Compares the file's identity with the folder's; a file or folder without one gets it.

        Raises:
            StoreFault: the file is of another catalogue.
        """
        identity = self._meta("identity")
        if not identity:
            with self.transaction():
                self.connection.execute("INSERT OR IGNORE INTO meta VALUES ('identity', ?)", (os.urandom(8).hex(),))
            identity = self._meta("identity")
        stated = self._marker.read_text("utf-8", "replace").strip() if self._marker.exists() else ""
        if stated and stated != identity:
            raise StoreFault(
                f"The catalogue {self._file} is not the one of this folder: its identity is {identity}, expected "
                f"{stated} as in {self._marker}. Nothing was changed. Put the right file back, or, to serve this file, "
                f"remove {self._marker}."
            )
        if not stated:
            with contextlib.suppress(OSError):  # a full disk; the next start writes it
                self._marker.write_text(f"{identity}\n", encoding="utf-8")

    def _refuse_loss(self) -> None:
        if self._file.exists() and self._file.stat().st_size:
            return
        state = "is empty" if self._file.exists() else "is missing"
        evidence = next((each for each in (self._marker, self._file.parent / INDEX_FOLDER) if _tells(each)), None)
        if evidence is not None:
            raise StoreFault(
                f"The catalogue {self._file} {state}, and {evidence} says that there was one. No empty catalogue was "
                f"made in its place. Put the file back, or: {RESTORE}"
            )

    def _refuse_other_program(self, version: int) -> None:
        tables = {row[0] for row in self.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if tables and (version == 0 or not {"meta", "photos", "products"} <= tables):
            raise StoreFault(
                f"The file {self._file} is a database of another program, with the tables "
                f"{', '.join(sorted(tables)[:5])}. It is unchanged. {RESTORE}"
            )

    def _refuse_newer(self, version: int) -> None:
        if version > FORMAT:
            raise StoreFault(
                f"The catalogue {self._file} has version {version}, written by a newer Triptych; this release reads "
                f"versions up to {FORMAT}. The file is unchanged. Serve it with the newer release, or name another "
                "folder in TRIPTYCH_CATALOGUE_DIR."
            )

    def _meta(self, key: str) -> str:
        row = self.connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return str(row[0]) if row else ""

    def _set_meta(self, key: str, value: str) -> None:
        self.connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))

    def _sequence(self) -> int:
        return int(self.connection.execute("SELECT max(sequence) FROM commits").fetchone()[0] or 0)


def _tells(evidence: Path) -> bool:
    """Whether the marker, or an index with rows, is there: folders of earlier releases have no marker."""
    if not evidence.is_dir():
        return evidence.exists()
    try:
        return int(json.loads((evidence / "state.json").read_text("utf-8"))["tip"]["sequence"]) > 0
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return True  # damaged, but it was written for a catalogue


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
