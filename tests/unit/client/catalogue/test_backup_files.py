"""The file of a backup: whole or not there, and refused when any byte of it changed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.catalogue.backup_files import Backup, check_backup, read_backup, write_backup
from triptych.errors import InvalidInput, ServerFault

DIMENSION = 4
END = {"complete": True, "products": 3, "fingerprint": "f", "dimension": DIMENSION, "sequence": 9, "identity": "i"}


def row(id_: int) -> dict[str, Any]:
    vector = np.full(DIMENSION, id_, "<f4")
    texts = {"product_id": f"p{id_}", "photo_id": f"ä{id_}", "fields": {"n": id_}, "checksums": [1, 2]}
    return {"id": id_, **texts, "embedding": base64.b64encode(vector.tobytes()).decode()}


def pages(photos: int = 4) -> Iterator[dict[str, Any]]:
    """Six rows, of which two are removed while the pages are read."""
    yield {"rows": [row(1), row(2)], "removed": [], "complete": False}
    yield {"rows": [row(3), row(4)], "removed": [1], "complete": False}
    yield {"rows": [row(5), row(6)], "removed": [4], "photos": photos, **END}


def test_backup_has_the_rows_of_the_last_moment(tmp_path: Path) -> None:
    path = str(tmp_path / "backup.jsonl")
    made = write_backup(path, pages())
    assert (made.photos, made.products, made.dimension) == (4, 3, DIMENSION)
    assert check_backup(path) == made
    batches = list(read_backup(path, 3, DIMENSION))
    assert [len(rows) for rows, _ in batches] == [3, 1]
    rows = [each for some, _ in batches for each in some]
    assert [each["product_id"] for each in rows] == ["p2", "p3", "p5", "p6"]
    assert np.concatenate([vectors for _, vectors in batches])[:, 0].tolist() == [2, 3, 5, 6]
    assert list(tmp_path.iterdir()) == [tmp_path / "backup.jsonl"]


def broken() -> Iterator[dict[str, Any]]:
    yield from list(pages())[:2]
    raise ConnectionError("gone")


@pytest.mark.parametrize(
    ("found", "error"), [(pages(photos=5), ServerFault), (broken(), ConnectionError)], ids=["count", "connection"]
)
def test_earlier_backup_is_kept_when_the_next_one_fails(
    tmp_path: Path, found: Iterator[dict[str, Any]], error: type[Exception]
) -> None:
    path = tmp_path / "backup.jsonl"
    write_backup(str(path), pages())
    before = path.read_bytes()
    with pytest.raises(error):
        write_backup(str(path), found)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_every_changed_byte_and_every_cut_is_found(tmp_path: Path) -> None:
    path = tmp_path / "backup.jsonl"
    write_backup(str(path), pages())
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(InvalidInput):
            check_backup(str(path))
        path.write_bytes(content[:place])
        with pytest.raises(InvalidInput):
            check_backup(str(path))


def test_backup_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "backup.jsonl"
    (tmp_path / "backup.jsonl.tmp").write_text("of a killed run")
    (tmp_path / "backup.jsonl.tmp").chmod(0o644)
    write_backup(str(path), pages())
    assert path.stat().st_mode & 0o777 == 0o600


MADE = Backup(1, 1, "f", DIMENSION, 1, "i", "2026-11-30T09:00:00Z")


def forge(path: Path, lines: list[bytes], stated: Any = MADE, **more: Any) -> str:
    """A file whose last line has the right digest."""
    body = b"".join(line + b"\n" for line in lines)
    values = {**asdict(stated), **more}
    digest = hashlib.sha256(json.dumps(values).encode() + body).hexdigest()
    path.write_bytes(body + json.dumps({"triptych_backup": 1, **values, "sha256": digest}).encode() + b"\n")
    return str(path)


def photo(**changes: Any) -> bytes:
    values = {"product_id": "p", "photo_id": "a", "fields": {}, "embedding": row(1)["embedding"], **changes}
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b"[" * 100_000, "line 2 is nested too deeply"),
        (photo()[:-1] + b', "x": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_000 + b"}", "line 2 is nested too deeply"),
        (b"[1]", "line 2 is a JSON list, expected an object"),
        (b"null", "line 2 is a JSON NoneType, expected an object"),
        (b"", "line 2 is not JSON"),
        (b"\xff", "line 2 is not JSON"),
        (b'{"n": NaN}', "line 2 is not JSON .NaN is no number"),
        (b'{"n": ' + b"1" * 5000 + b"}", "line 2 is not JSON"),
        (photo(product_id="\ud800"), "line 2 has half of a surrogate pair"),
        (photo(fields={"\udc00": 1}), "line 2 has half of a surrogate pair"),
        (photo(embedding=None), "line 2 has no embedding in base64"),
        (photo(embedding=[1.0]), "line 2 has no embedding in base64"),
        (photo(embedding="!!!!"), "line 2 has no embedding in base64"),
        (photo(embedding="ä"), "line 2 has no embedding in base64"),
        (photo(embedding="AAAA"), "line 2 has an embedding of 3 bytes, expected 16"),
        (photo(embedding=base64.b64encode(bytes(20)).decode()), "line 2 has an embedding of 20 bytes, expected 16"),
    ],
    ids=range(16),
)
def test_forged_line_is_named(tmp_path: Path, line: bytes, sentence: str) -> None:
    path = forge(tmp_path / "forged.jsonl", [photo(), line])
    assert check_backup(path) == MADE
    with pytest.raises(InvalidInput, match=sentence):
        list(read_backup(path, 10, DIMENSION))


@pytest.mark.parametrize(
    "changes",
    [
        {"photos": "1"},
        {"dimension": None},
        {"sequence": True},
        {"photos": -1},
        {"identity": 3},
        {"created_at": "\ud800"},
    ],
)
def test_forged_last_line_is_no_backup(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="is not a complete backup"):
        check_backup(forge(tmp_path / "forged.jsonl", [photo()], **changes))


def test_last_line_that_is_nested_deeply_is_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "forged.jsonl"
    path.write_bytes(b"[" * 4000 + b"\n")
    with pytest.raises(InvalidInput, match="is not a complete backup"):
        check_backup(str(path))


def test_what_never_ends_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", str(tmp_path / "pipe"), str(tmp_path)):
        with pytest.raises(InvalidInput, match="is a folder, a device or a pipe; expected a file"):
            check_backup(path)


def test_another_dimension_is_stated(tmp_path: Path) -> None:
    path = forge(tmp_path / "forged.jsonl", [photo()], replace(MADE, dimension=3))
    with pytest.raises(InvalidInput, match="expected 12"):
        list(read_backup(path, 10, check_backup(path).dimension))
