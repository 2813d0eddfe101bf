from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from triptych_models.recognition.instance_activity import CALM_S, MAX_INSTANCES, InstanceActivity


class Clock:
    """Stands still unless told to go on."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("triptych_models.recognition.instance_activity.time", clock)
    return clock


def is_alone(activity: InstanceActivity) -> bool:
    with activity.busy() as alone:
        return alone


def test_lone_instance_knows_it_is_alone(tmp_path: Path, clock: Clock) -> None:
    assert is_alone(InstanceActivity(tmp_path, 0))


def test_requests_that_take_turns_are_each_alone(tmp_path: Path, clock: Clock) -> None:
    first, second = InstanceActivity(tmp_path, 0), InstanceActivity(tmp_path, 1)
    assert [is_alone(activity) for activity in (first, second, first, second)] == [True] * 4


def test_second_instance_is_not_alone_while_the_first_works(tmp_path: Path, clock: Clock) -> None:
    first, second = InstanceActivity(tmp_path, 0), InstanceActivity(tmp_path, MAX_INSTANCES - 1)
    with first.busy() as alone:
        assert alone
        assert not is_alone(second)


def test_instance_is_alone_again_only_after_a_calm_while(tmp_path: Path, clock: Clock) -> None:
    first, second = InstanceActivity(tmp_path, 0), InstanceActivity(tmp_path, 1)
    with first.busy():
        assert not is_alone(second)
    clock.now_s += CALM_S / 2
    assert not is_alone(second)
    clock.now_s += CALM_S
    assert is_alone(second)


def test_instance_that_failed_is_not_counted_as_busy(tmp_path: Path, clock: Clock) -> None:
    first, second = InstanceActivity(tmp_path, 0), InstanceActivity(tmp_path, 1)
    with contextlib.suppress(RuntimeError), first.busy():
        raise RuntimeError
    assert is_alone(second)


def test_restarted_instance_starts_idle(tmp_path: Path, clock: Clock) -> None:
    InstanceActivity(tmp_path, 3).busy().__enter__()
    InstanceActivity(tmp_path, 3)
    assert is_alone(InstanceActivity(tmp_path, 0))
