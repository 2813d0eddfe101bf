"""The recognizer's cache: exact, shared, bounded."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest

from triptych_models.recognition.answer_cache import AnswerCache

ANSWER_BYTES = 9124


def answer(number: int) -> bytes:
    return number.to_bytes(4, "big") * (ANSWER_BYTES // 4)


def open_cache(folder: Path, size_mb: int = 16, weights: bytes = b"weights" + bytes(25)) -> AnswerCache:
    return AnswerCache(folder, size_mb, ANSWER_BYTES, weights)


def test_get_is_none_when_photo_is_new(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    assert cache.get(cache.key(b"photo")) is None


def test_get_returns_what_was_put(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    cache.put(cache.key(b"photo"), answer(7))
    assert cache.get(cache.key(b"photo")) == answer(7)
    assert cache.get(cache.key(b"photo ")) is None


def test_key_differs_when_weights_do(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (open_cache(tmp_path / name, weights=name.encode() + bytes(29)) for name in ("one", "two"))
    assert one.key(b"photo") == one.key(b"photo")
    assert one.key(b"photo") != two.key(b"photo")


def test_put_never_overflows_and_keeps_the_newest(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, size_mb=2)
    for number in range(2000):  # ten times what fits
        cache.put(cache.key(str(number).encode()), answer(number))
    assert cache.get(cache.key(b"1999")) == answer(1999)
    assert cache.get(cache.key(b"0")) is None
    assert sum(file.stat().st_size for file in (tmp_path / "answers").iterdir()) < 3 * 2**20


def test_what_is_asked_for_again_outlives_what_is_not(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, size_mb=2)
    popular = cache.key(b"popular")
    cache.put(popular, answer(1))
    for number in range(2000):
        cache.put(cache.key(str(number).encode()), answer(number))
        if number % 20 == 0:
            assert cache.get(popular) == answer(1), number


def put_in_another_process(folder: Path, number: int) -> None:
    cache = open_cache(folder)
    for step in range(200):
        cache.put(cache.key(b"%d %d" % (number, step)), answer(number * 1000 + step))


def test_instances_share_answers_when_they_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=put_in_another_process, args=(tmp_path, number)) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
        assert writer.exitcode == 0
    cache = open_cache(tmp_path)
    last = [cache.get(cache.key(b"%d 199" % number)) for number in range(2)]
    assert last == [answer(199), answer(1199)]


ON_A_FULL_DISK = """
import resource, sys
from pathlib import Path
from triptych_models.recognition.answer_cache import AnswerCache

cache = AnswerCache(Path(sys.argv[1]), 16, 9124, bytes(32))
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))  # writes beyond fail as on a full disk
keys = [cache.key(bytes([number])) for number in range(100)]
for key in keys:
    cache.put(key, bytes(9124))
kept = [cache.get(key) is not None for key in keys]
assert kept[0] and not kept[-1], kept
print(sum(kept))
"""


def test_put_keeps_nothing_and_harms_nothing_when_disk_is_full(tmp_path: Path) -> None:
    result = subprocess.run(
        [sys.executable, "-c", ON_A_FULL_DISK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert 0 < int(result.stdout) < 100


@pytest.mark.parametrize("size_mb", [1, 64])
def test_size_is_a_limit_on_the_file(tmp_path: Path, size_mb: int) -> None:
    cache = open_cache(tmp_path, size_mb=size_mb)
    cache.put(cache.key(os.urandom(100)), answer(0))
    assert (tmp_path / "answers/data.mdb").stat().st_size <= size_mb * 2**20
