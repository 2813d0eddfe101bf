"""Waits until nothing is in flight, because Triton (2.51) refuses the next step of an ensemble once it got SIGTERM:
5 of 16 requests in flight were lost with "Server is stopping".
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import psutil

from ops.probe import read_activity
from ops.processes import find_stubs

POLL_S = 0.05
# Triton counts a request when it ends and none while it runs, so quiet must last longer than one execution takes.
SHORTEST_QUIET_S = 0.2
LONGEST_QUIET_S = 1.0
EXECUTIONS_QUIET = 2
# A stub at rest wakes every 0.3 s to say that it lives; one that computes uses a whole core.
BUSY_SHARE = 0.2


def wait_until_idle(
    metrics_port: int, segment_prefix: str, timeout_s: float, is_hurried: Callable[[], bool] = lambda: False
) -> bool:
    """True when nothing waited, finished or computed for a while; False when time ran out or the caller hurries."""
    deadline_s = time.monotonic() + timeout_s
    stubs = find_stubs(segment_prefix)
    quiet_since_s, finished, cpu_s = time.monotonic(), -1, _cpu_s(stubs)
    while time.monotonic() < deadline_s and not is_hurried():
        activity = read_activity(metrics_port)
        if activity is None:  # it no longer answers: nothing can be in flight
            return True
        now_s = time.monotonic()
        quiet_s = min(LONGEST_QUIET_S, max(SHORTEST_QUIET_S, EXECUTIONS_QUIET * activity.slowest_compute_s))
        if activity.pending or activity.finished != finished:
            quiet_since_s, finished, cpu_s = now_s, activity.finished, _cpu_s(stubs)
        elif now_s - quiet_since_s >= quiet_s:
            if _cpu_s(stubs) - cpu_s < BUSY_SHARE * (now_s - quiet_since_s):
                return True
            quiet_since_s, cpu_s = now_s, _cpu_s(stubs)
        time.sleep(POLL_S)
    return False


def _cpu_s(stubs: list[psutil.Process]) -> float:
    """Processor time all of them have used."""
    total_s = 0.0
    for stub in stubs:
        with contextlib.suppress(psutil.Error):
            times = stub.cpu_times()
            total_s += times.user + times.system
    return total_s
