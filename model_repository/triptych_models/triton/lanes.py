"""A model's own queues, called lanes: bounded, each with a thread, so that dear requests delay their like alone.

For models whose queue in Triton may not have a limit: where a step of an ensemble exceeds one, a server before 26.02
never answers the request (triton-inference-server/core#466). Knows no Triton.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

Job = TypeVar("Job")

# Requests that may wait in each lane.
MAX_WAITING = 64
# Python's default of 5 ms is longer than a search: the threads of two lanes would take turns of five searches each.
_SWITCH_INTERVAL_S = 0.0005


class Lanes(Generic[Job]):
    """Runs jobs in their lanes, in the order of arrival. A thread without work takes jobs of the lanes below its own.

    Args:
        lanes: number of lanes; the jobs of lane 0 are the quickest.
        run: does a job. Must not raise.
        max_waiting: jobs that may wait in each lane.
    """

    def __init__(self, lanes: int, run: Callable[[Job], None], max_waiting: int = MAX_WAITING) -> None:
        self._run = run
        self._max_waiting = max_waiting
        self._waiting: list[deque[Job]] = [deque() for _ in range(lanes)]
        self._changed = threading.Condition()
        if lanes > 1:
            sys.setswitchinterval(_SWITCH_INTERVAL_S)
        for lane in range(lanes):
            threading.Thread(target=self._work, args=(lane,), name=f"lane-{lane}", daemon=True).start()

    def offer(self, job: Job, lane: int) -> bool:
        """Adds a job; False, and nothing is added, where the lane is full."""
        with self._changed:
            if len(self._waiting[lane]) >= self._max_waiting:
                return False
            self._waiting[lane].append(job)
            self._changed.notify_all()
        return True

    def _work(self, lane: int) -> None:
        mine = self._waiting[lane::-1]
        while True:
            with self._changed:
                self._changed.wait_for(lambda: any(mine))
                job = next(jobs for jobs in mine if jobs).popleft()
            self._run(job)
            del job  # a request ends in Triton once nothing refers to it
