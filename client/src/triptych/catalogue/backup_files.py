"""Backups of a catalogue: JSON lines, of which the last has the counts and the SHA-256 of everything in the file.

A line per photo: `product_id`, `photo_id`, `fields`, `image_digest`, `phash`, `checksums` and `embedding` (float32,
little-endian, base64). Sends nothing.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import stat
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
# Of the file: other users of the machine do not read the catalogue.
_MODE = 0o600


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

    Only this user can read the file.

    Raises:
        ServerFault: the pages have another number of photos than the server stated.
        InvalidInput: what was read back is not what was written.
    """
    with replace_files((path,), _MODE) as (draft,):
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
        size_bytes, tail = _read_tail(path)
        last = tail.rstrip(b"\n").rpartition(b"\n")[2]
        stated = _parse(last)
        version, digest = stated.pop("triptych_backup"), stated.pop("sha256")
        if version != FORMAT:
            raise InvalidInput(f"{path!r} is a backup of format {version}; expected {FORMAT}. Use a newer client.")
        backup = Backup(**stated)
        _check_types(backup)
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


def _read_tail(path: str) -> tuple[int, bytes]:
    """The size of a file in bytes, and its last bytes.

    Raises:
        InvalidInput: it is no regular file; a device or a pipe may never end.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise InvalidInput(f"{path!r} is a folder, a device or a pipe; expected a file. Name a file.")
    with open(path, "rb") as file:
        file.seek(max(0, found.st_size - _TAIL_BYTES))
        return found.st_size, file.read()


def _parse(line: bytes) -> JsonObject:
    """The object of a line.

    Raises:
        ValueError: the line is no JSON object, or cannot be written as UTF-8; says why.
    """
    try:
        content = json.loads(line, parse_constant=_refuse_constant)
        json.dumps(content, ensure_ascii=False).encode()
    except RecursionError as error:
        raise ValueError("is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError("has half of a surrogate pair, which is no text") from error
    except ValueError as error:
        raise ValueError(f"is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"is a JSON {type(content).__name__}, expected an object")
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _check_types(backup: Backup) -> None:
    """Raises:
    ValueError: a value of the last line is of another type.
    """
    for name, value in asdict(backup).items():
        kind = int if name in ("photos", "products", "dimension", "sequence") else str
        if type(value) is not kind or (isinstance(value, int) and value < 0):
            raise ValueError(f"{name} is {value!r}")


def read_backup(path: str, limit: int, dimension: int) -> Iterator[tuple[list[JsonObject], npt.NDArray[np.float32]]]:
    """The photos of a checked backup in batches: rows without embedding, and the embeddings float32[N,D].

    Args:
        path: the file.
        limit: the most photos of a batch.
        dimension: D, as the backup's last line states it.

    Raises:
        InvalidInput: a line is no photo, which a digest does not show of a file that was forged; names the line.
    """
    rows: list[JsonObject] = []
    vectors: list[Any] = []
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = _parse(line)
                if "triptych_backup" in row:
                    break
                vectors.append(_parse_embedding(row.pop("embedding", None), dimension))
            except ValueError as error:
                raise InvalidInput(f"{path!r} is damaged: line {number} {error}. Use another backup.") from error
            rows.append(row)
            if len(rows) == limit:
                yield rows, np.stack(vectors)
                rows, vectors = [], []
    if rows:
        yield rows, np.stack(vectors)


def _parse_embedding(text: Any, dimension: int) -> npt.NDArray[np.float32]:
    """Raises:
    ValueError: the text is not `dimension` numbers in base64; says why.
    """
    try:
        content = base64.b64decode(text, validate=True) if isinstance(text, str) else None
    except ValueError:  # also of letters that are not ASCII
        content = None
    if content is None:
        raise ValueError("has no embedding in base64")
    if len(content) != 4 * dimension:
        raise ValueError(f"has an embedding of {len(content)} bytes, expected {4 * dimension}")
    return np.frombuffer(content, "<f4")


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
