"""Backups of a catalogue: JSON lines, of which the last has the counts and the SHA-256 of everything in the file.

A line per photo: `product_id`, `photo_id`, `fields`, `image_digest`, `phash`, `checksums` and `embedding` (float32,
little-endian, base64). Sends nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from triptych._core.protocol import JsonObject
from triptych.catalogue.file_replacement import replace_files
from triptych.errors import InvalidInput, ServerFault

FORMAT = 1
_BLOCK_BYTES = 1 << 20
# The last line is shorter: counts and digests.
_TAIL_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Backup:
    """The last line of a backup.

    Attributes:
        photos, products: numbers of photos and products.
        fingerprint: of the embedder of the photos; empty without photos.
        dimension: length of an embedding; 0 without photos.
        sequence: the server's last write that is in the backup.
        identity: of the catalogue.
        created_at: time of that state in UTC: "2026-11-30T09:00:00Z".
    """

    photos: int
    products: int
    fingerprint: str
    dimension: int
    sequence: int
    identity: str
    created_at: str


def write_backup(path: str, pages: Iterable[JsonObject]) -> Backup:
    """Writes the pages of call `backup` to a file, whole or not at all, and compares the file with its digest.

    Raises:
        ServerFault: the pages have another number of photos than the server stated.
        InvalidInput: what was read back is not what was written.
    """
    with replace_files((path,)) as (draft,):
        removed: set[int] = set()
        ids: list[int] = []
        end: JsonObject = {}
        for page in pages:
            removed.update(page["removed"])
            for row in page["rows"]:
                ids.append(row.pop("id"))
                draft.write(_line(row))
            end = page
        if removed:
            _drop(draft, [id_ in removed for id_ in ids])
        photos = sum(id_ not in removed for id_ in ids)
        if not end.get("complete") or photos != end["photos"]:
            raise ServerFault(f"The server sent {photos} photos of {end.get('photos')}. Start the backup again.")
        created_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        stated = {
            name: end[name] for name in ("photos", "products", "fingerprint", "dimension", "sequence", "identity")
        }
        backup = Backup(**stated, created_at=created_at)
        draft.flush()
        draft.write(_line({"triptych_backup": FORMAT, **asdict(backup), "sha256": _digest(draft.name, None, backup)}))
        draft.flush()
        if check_backup(draft.name) != backup:
            raise InvalidInput(f"{draft.name!r} has other content than was written. Check the disk.")
    return backup


def check_backup(path: str) -> Backup:
    """The last line of a backup, whose other lines match its digest.

    Raises:
        InvalidInput: the file cannot be read, or is no complete, undamaged backup.
    """
    try:
        size_bytes = os.path.getsize(path)
        with open(path, "rb") as file:
            file.seek(max(0, size_bytes - _TAIL_BYTES))
            tail = file.read()
        last = tail.rstrip(b"\n").rpartition(b"\n")[2]
        stated = json.loads(last)
        version, digest = stated.pop("triptych_backup"), stated.pop("sha256")
        if version != FORMAT:
            raise InvalidInput(f"{path!r} is a backup of format {version}; expected {FORMAT}. Use a newer client.")
        backup = Backup(**stated)
    except OSError as error:
        raise InvalidInput(f"{path!r} cannot be read ({error.strerror}).") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"{path!r} is not a complete backup: its last line has no digest. Use a file that `triptych catalogue "
            "backup` has finished."
        ) from error
    if not tail.endswith(b"\n") or _digest(path, size_bytes - len(last) - 1, backup) != digest:
        raise InvalidInput(f"{path!r} is damaged: it does not match the digest of its last line. Use another backup.")
    return backup


def read_backup(path: str, limit: int) -> Iterator[tuple[list[JsonObject], npt.NDArray[np.float32]]]:
    """The photos of a checked backup in batches: rows without embedding, and the embeddings float32[N,D]."""
    rows: list[JsonObject] = []
    vectors: list[Any] = []
    with open(path, "rb") as file:
        for line in file:
            row = json.loads(line)
            if "triptych_backup" in row:
                break
            vectors.append(np.frombuffer(base64.b64decode(row.pop("embedding")), "<f4"))
            rows.append(row)
            if len(rows) == limit:
                yield rows, np.stack(vectors)
                rows, vectors = [], []
    if rows:
        yield rows, np.stack(vectors)


def _line(content: JsonObject) -> bytes:
    return json.dumps(content).encode() + b"\n"


def _drop(draft: BinaryIO, is_dropped: list[bool]) -> None:
    """Removes lines from the draft."""
    draft.flush()
    kept = 0
    with open(draft.name, "rb") as lines, open(draft.name, "r+b") as writer:
        for line, is_gone in zip(lines, is_dropped, strict=True):
            if not is_gone:  # written before the place of the next line that is read
                writer.write(line)
                kept += len(line)
    draft.truncate(kept)
    draft.seek(kept)


def _digest(path: str, size_bytes: int | None, backup: Backup) -> str:
    """SHA-256 of the first bytes of a file, or of all, and of the values of its last line."""
    digest = hashlib.sha256(json.dumps(asdict(backup)).encode())
    with open(path, "rb") as file:
        left = os.path.getsize(path) if size_bytes is None else size_bytes
        while left > 0 and (block := file.read(min(_BLOCK_BYTES, left))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()
