"""Checksums of stored photos: one of the embedding, which the index uses too, and one of the ids, fields and hashes.

CRC-32 finds accidents, not an attacker, who could write the checksum as well. Source: zlib of Python 3.11 makes
2.1 GB/s from rows of 5 kB on one core, SHA-256 1.4, BLAKE2b 0.5 (2026-11-30).
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from triptych_models.catalogue.records import Floats, Ids

Flags = npt.NDArray[np.bool_]
Checksums = npt.NDArray[np.uint32]

# A table of its own: releases without it still open the file, and their rows get checksums at the next start.
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS checksums "
    "(photo INTEGER PRIMARY KEY, embedding INTEGER NOT NULL, texts INTEGER NOT NULL)"
)
# Key in `meta`: sequence of the commit up to which every photo has checksums.
COMPLETE_TO = "checksums_complete_to"
TEXT_COLUMNS = "product_id, photo_id, fields, image_digest, phash"
_BATCH_ROWS = 2048


class PhotoRows(NamedTuple):
    """Photos for the index.

    Attributes:
        ids: rising.
        products: key of each photo's product.
        embeddings: float32[N,D]; 0 for damaged photos.
        checksums: of the embeddings.
        sound: False for photos whose stored embedding does not match its checksum.
    """

    ids: Ids
    products: Ids
    embeddings: Floats
    checksums: Checksums
    sound: Flags


def embedding_checksum(embedding: bytes) -> int:
    return zlib.crc32(embedding)


def text_checksum(texts: Iterable[str | None]) -> int:
    """The checksum of a photo's `TEXT_COLUMNS`."""
    joined = "\x1f".join("\x00" if text is None else text for text in texts)
    return zlib.crc32(joined.encode("utf-8", "surrogateescape"))


def decode_text(text: bytes) -> str:
    """SQLite's text; damaged UTF-8 is kept, and does not match its checksum."""
    return text.decode("utf-8", "surrogateescape")


def photo_rows(rows: list[tuple[int, int, bytes, int | None]]) -> PhotoRows:
    """From rows of id, product key, embedding and its checksum; None where the photo has no checksum yet."""
    found = [zlib.crc32(row[2]) for row in rows]
    sound = [row[3] is None or row[3] == checksum for row, checksum in zip(rows, found, strict=True)]
    width = next((len(row[2]) for row, is_sound in zip(rows, sound, strict=True) if is_sound), 0)
    parts = [row[2] if is_sound else bytes(width) for row, is_sound in zip(rows, sound, strict=True)]
    return PhotoRows(
        np.array([row[0] for row in rows], np.int64),
        np.array([row[1] for row in rows], np.int64),
        np.frombuffer(b"".join(parts), "<f4").reshape(len(rows), width // 4),
        np.array(
            [c if is_sound else zlib.crc32(bytes(width)) for c, is_sound in zip(found, sound, strict=True)], np.uint32
        ),
        np.array(sound, np.bool_),
    )


def add_missing(connection: sqlite3.Connection) -> int:
    """Gives the next photos without checksums theirs, inside a transaction; returns how many were done."""
    rows = connection.execute(
        f"SELECT id, embedding, {TEXT_COLUMNS} FROM photos JOIN products ON key = product WHERE id IN ("
        "SELECT id FROM photos WHERE NOT EXISTS (SELECT 1 FROM checksums WHERE photo = id) LIMIT ?)",
        (_BATCH_ROWS,),
    ).fetchall()
    connection.executemany(
        "INSERT INTO checksums VALUES (?, ?, ?)",
        [(row[0], embedding_checksum(row[1]), text_checksum(row[2:])) for row in rows],
    )
    return len(rows)
