"""The answer cache: answers to photos seen before, shared by all instances of a server. Owns one LMDB file.

Triton's response cache is not usable here: it ignores which outputs were requested, and caches errors as empty answers.
This cache stores complete answers only, under the BLAKE3 hash of the photo's bytes, keyed by the weights.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

import lmdb
from blake3 import blake3

# LMDB stores a value larger than half a page in pages of its own, the first with a header.
_PAGE_BYTES = 4096
_HEADER_BYTES = 16
# LMDB writes to new pages before it frees old ones; 25 % of the file is reserved for that.
_USED_SHARE = 0.75


class AnswerCache:
    """A cache of two halves: the newer half is written until it is full; then the older half is emptied and becomes the
    newer one. A lookup copies an answer to the newer half, so that answers in use stay.

    Args:
        server_folder: folder that all instances of one server share.
        size_mb: size of the file, in 2**20 bytes.
        answer_bytes: size of an answer; all answers have the same size.
        weights: 32 bytes that identify the weights: answers of other weights are not found.
    """

    def __init__(self, server_folder: Path, size_mb: int, answer_bytes: int, weights: bytes) -> None:
        size_bytes = size_mb * 1024 * 1024
        # The file is deleted with the server, so no sync. Not `writemap`: on a full disk it would end in SIGBUS.
        self._environment = lmdb.open(
            os.fsencode(server_folder / "answers"), map_size=size_bytes, max_dbs=2, max_readers=1024, sync=False
        )
        self._halves = [self._environment.open_db(name) for name in (b"half 0", b"half 1")]
        pages = math.ceil((answer_bytes + _HEADER_BYTES) / _PAGE_BYTES)
        self._capacity = max(1, int(size_bytes * _USED_SHARE / 2 / (pages * _PAGE_BYTES)))
        self._weights = weights

    def key(self, photo: bytes) -> bytes:
        """The key of a photo's answer."""
        return blake3(photo, key=self._weights).digest()

    def get(self, key: bytes) -> bytes | None:
        """The answer; None where the cache has none."""
        with self._environment.begin() as transaction:
            young = _young(transaction)
            answer: bytes | None = transaction.get(key, db=self._halves[young])
            if answer is not None:
                return answer
            answer = transaction.get(key, db=self._halves[1 - young])
        if answer is not None:
            self.put(key, answer)
        return answer

    def put(self, key: bytes, answer: bytes) -> None:
        """Stores an answer, and evicts the oldest answers when the cache is full; on a full disk stores nothing."""
        with contextlib.suppress(lmdb.Error), self._environment.begin(write=True) as transaction:
            young = _young(transaction)
            if transaction.stat(self._halves[young])["entries"] >= self._capacity:
                young = 1 - young
                transaction.drop(self._halves[young], delete=False)
                transaction.put(b"young", bytes([young]))
            transaction.put(key, answer, db=self._halves[young])


def _young(transaction: lmdb.Transaction) -> int:
    return int.from_bytes(transaction.get(b"young", b"\0"), "big")
