from __future__ import annotations

import sys
import threading
from collections.abc import Iterator

import pytest

from triptych_models.triton.lanes import Lanes

PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def switch_interval() -> Iterator[None]:
    """Lanes change it for the whole process."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


class Work:
    """Jobs that wait until they are let go, and the order in which they ended."""

    def __init__(self) -> None:
        self.gates: dict[str, threading.Event] = {}
        self.started = threading.Semaphore(0)
        self.ended: list[str] = []
        self._done = threading.Semaphore(0)

    def run(self, name: str) -> None:
        self.started.release()
        if name in self.gates:
            assert self.gates[name].wait(PATIENCE_S)
        self.ended.append(name)
        self._done.release()

    def wait_for(self, jobs: int) -> None:
        for _ in range(jobs):
            assert self._done.acquire(timeout=PATIENCE_S)


def test_quick_job_overtakes_dear_ones() -> None:
    work = Work()
    work.gates["dear"] = threading.Event()
    lanes = Lanes(2, work.run)
    assert lanes.offer("dear", 1)
    assert work.started.acquire(timeout=PATIENCE_S)
    assert lanes.offer("second dear", 1)
    assert lanes.offer("quick", 0)
    work.wait_for(1)
    assert work.ended == ["quick"]
    work.gates["dear"].set()
    work.wait_for(2)
    assert work.ended == ["quick", "dear", "second dear"]


def test_thread_without_dear_jobs_does_quick_ones() -> None:
    work = Work()
    work.gates["slow"] = threading.Event()
    lanes = Lanes(2, work.run)
    assert lanes.offer("slow", 0)
    assert work.started.acquire(timeout=PATIENCE_S)
    assert lanes.offer("quick", 0)
    work.wait_for(1)
    assert work.ended == ["quick"]
    work.gates["slow"].set()
    work.wait_for(1)


def test_full_lane_refuses_and_the_other_does_not() -> None:
    work = Work()
    work.gates["running"] = threading.Event()
    lanes = Lanes(2, work.run, max_waiting=2)
    assert lanes.offer("running", 1)
    assert work.started.acquire(timeout=PATIENCE_S)
    assert [lanes.offer(name, 1) for name in ("a", "b", "c")] == [True, True, False]
    assert lanes.offer("quick", 0)
    work.gates["running"].set()
    work.wait_for(4)
    assert sorted(work.ended) == ["a", "b", "quick", "running"]
