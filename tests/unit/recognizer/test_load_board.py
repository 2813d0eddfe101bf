from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from load_board import CALM_S, MAX_INSTANCES, LoadBoard


class Clock:
    """Stands still unless told to go on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("load_board.time", clock)
    return clock


def is_alone(board: LoadBoard) -> bool:
    with board.busy() as alone:
        return alone


def test_lone_instance_knows_it_is_alone(tmp_path: Path, clock: Clock) -> None:
    assert is_alone(LoadBoard(tmp_path, 0))


def test_requests_that_take_turns_are_each_alone(tmp_path: Path, clock: Clock) -> None:
    first, second = LoadBoard(tmp_path, 0), LoadBoard(tmp_path, 1)
    assert [is_alone(board) for board in (first, second, first, second)] == [True] * 4


def test_second_instance_is_not_alone_while_the_first_works(tmp_path: Path, clock: Clock) -> None:
    first, second = LoadBoard(tmp_path, 0), LoadBoard(tmp_path, MAX_INSTANCES - 1)
    with first.busy() as alone:
        assert alone
        assert not is_alone(second)


def test_instance_is_alone_again_only_after_a_calm_while(tmp_path: Path, clock: Clock) -> None:
    first, second = LoadBoard(tmp_path, 0), LoadBoard(tmp_path, 1)
    with first.busy():
        assert not is_alone(second)
    clock.now_s += CALM_S / 2
    assert not is_alone(second)
    clock.now_s += CALM_S
    assert is_alone(second)


def test_instance_that_failed_is_not_counted_as_busy(tmp_path: Path, clock: Clock) -> None:
    first, second = LoadBoard(tmp_path, 0), LoadBoard(tmp_path, 1)
    with contextlib.suppress(RuntimeError), first.busy():
        raise RuntimeError
    assert is_alone(second)


def test_restarted_instance_starts_idle(tmp_path: Path, clock: Clock) -> None:
    LoadBoard(tmp_path, 3).busy().__enter__()
    LoadBoard(tmp_path, 3)
    assert is_alone(LoadBoard(tmp_path, 0))
