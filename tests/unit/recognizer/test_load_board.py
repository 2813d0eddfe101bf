from __future__ import annotations

from pathlib import Path

from load_board import LoadBoard


def test_lone_instance_knows_it_is_alone(tmp_path: Path) -> None:
    board = LoadBoard(tmp_path, 0)
    with board.busy() as is_alone:
        assert is_alone


def test_second_instance_knows_it_is_not_alone_until_the_first_is_done(tmp_path: Path) -> None:
    first, second = LoadBoard(tmp_path, 0), LoadBoard(tmp_path, 5)
    with first.busy() as is_alone:
        assert is_alone
        with second.busy() as is_second_alone:
            assert not is_second_alone
    with second.busy() as is_second_alone:
        assert is_second_alone


def test_instance_that_failed_is_not_counted_as_busy(tmp_path: Path) -> None:
    first, second = LoadBoard(tmp_path, 0), LoadBoard(tmp_path, 1)
    try:
        with first.busy():
            raise RuntimeError
    except RuntimeError:
        pass
    with second.busy() as is_alone:
        assert is_alone


def test_restarted_instance_starts_idle(tmp_path: Path) -> None:
    LoadBoard(tmp_path, 3).busy().__enter__()
    LoadBoard(tmp_path, 3)
    with LoadBoard(tmp_path, 0).busy() as is_alone:
        assert is_alone
