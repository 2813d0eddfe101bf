"""The file of a backup: whole or not there, and refused when any byte of it changed."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from triptych.catalogue.backup_files import check_backup, read_backup, write_backup
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
    batches = list(read_backup(path, 3))
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
