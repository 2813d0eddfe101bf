"""Slots of a region never overlap, and come back whole."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from triptych._transport.shared_region import Region, slot_size


@pytest.fixture
def region(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Region:
    monkeypatch.setattr("triptych._transport.shared_region.FOLDER", tmp_path)
    return Region(4096)


def test_slot_is_none_when_no_room_is_left(region: Region) -> None:
    assert [region.take(2000), region.take(2000), region.take(2000)] == [0, 2000, None]
    region.give_back(0, 2000)
    assert region.take(2001) is None
    assert region.take(2000) == 0


def test_slots_never_overlap_and_come_back_whole(region: Region) -> None:
    chance = random.Random(0)
    taken: list[tuple[int, int]] = []
    for _ in range(2000):
        if taken and chance.random() < 0.5:
            region.give_back(*taken.pop(chance.randrange(len(taken))))
        size_bytes = chance.randint(1, 700)
        start = region.take(size_bytes)
        if start is not None:
            assert 0 <= start <= 4096 - size_bytes
            assert all(start + size_bytes <= other or other + length <= start for other, length in taken)
            taken.append((start, size_bytes))
    for slot in taken:
        region.give_back(*slot)
    assert region.take(4096) == 0


def test_photos_lie_behind_their_lengths(region: Region) -> None:
    photos = [b"first", b"second one"]
    start = region.take(slot_size(photos))
    assert start is not None
    region.write(start, photos)
    assert region._memory[: slot_size(photos)] == b"\x05\0\0\0first\x0a\0\0\0second one"


def test_name_is_gone_when_it_was_taken_away(region: Region, tmp_path: Path) -> None:
    assert [path.name for path in tmp_path.iterdir()] == [region.name]
    region.unlink()
    region.unlink()
    assert list(tmp_path.iterdir()) == []
    region.write(0, [b"still usable"])
