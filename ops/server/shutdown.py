"""Ends a server without losing a request: waits until no request is in flight, then sends SIGTERM.

Draining comes first because Triton 2.51 refuses the next step of an ensemble after SIGTERM: without draining, 5 of 16
requests in flight failed with "Server is stopping". After SIGTERM, Triton 2.51 sleeps 1 s for each Python process that
it unloads (3 s for the four models here) and waits up to its exit timeout for an idle HTTP connection. Neither wait is
needed once no request is in flight and no Python model has a `finalize`; the caller may kill the remaining processes.
"""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable

import psutil

from ops.server.logs import LogReader
from ops.server.probe import read_activity
from ops.server.processes import find_stubs

DRAIN_POLL_S = 0.05
# Triton counts a request when it ends, not while it runs, so the idle period must exceed one execution.
SHORTEST_QUIET_S = 0.2
LONGEST_QUIET_S = 1.0
EXECUTIONS_QUIET = 2
# An idle stub wakes every 0.3 s for its heartbeat; a busy stub uses a whole core.
BUSY_SHARE = 0.2

EXIT_POLL_S = 0.02
# Added to Triton's own exit timeout, for its last log lines.
MARGIN_S = 1.0
# An open HTTP connection may still deliver a request within this time.
IDLE_CONNECTION_S = 1.0


def wait_until_idle(metrics_port: int, segment_prefix: str, timeout_s: float, is_hurried: Callable[[], bool]) -> bool:
    """Returns True once no request waited, finished or computed for a while; False at the timeout or when hurried."""
    deadline_s = time.monotonic() + timeout_s
    stubs = find_stubs(segment_prefix)
    quiet_since_s, finished, cpu_s = time.monotonic(), -1, _cpu_s(stubs)
    while time.monotonic() < deadline_s and not is_hurried():
        activity = read_activity(metrics_port)
        if activity is None:  # the server no longer answers, so no request can be in flight
            return True
        now_s = time.monotonic()
        quiet_s = min(LONGEST_QUIET_S, max(SHORTEST_QUIET_S, EXECUTIONS_QUIET * activity.slowest_compute_s))
        if activity.pending or activity.finished != finished:
            quiet_since_s, finished, cpu_s = now_s, activity.finished, _cpu_s(stubs)
        elif now_s - quiet_since_s >= quiet_s:
            if _cpu_s(stubs) - cpu_s < BUSY_SHARE * (now_s - quiet_since_s):
                return True
            quiet_since_s, cpu_s = now_s, _cpu_s(stubs)
        time.sleep(DRAIN_POLL_S)
    return False


def _cpu_s(stubs: list[psutil.Process]) -> float:
    """Returns the CPU time of all stubs together."""
    total_s = 0.0
    for stub in stubs:
        with contextlib.suppress(psutil.Error):
            times = stub.cpu_times()
            total_s += times.user + times.system
    return total_s


def shut_down(
    process: subprocess.Popen[bytes],
    log: LogReader,
    exit_timeout_s: float,
    must_unload: bool,
    is_hurried: Callable[[], bool],
) -> None:
    """Sends SIGTERM; returns once the server has ended or has no work left.

    Args:
        process: the server.
        log: the server's log, which shows the progress of the shutdown.
        exit_timeout_s: Triton's exit timeout; the call returns shortly after it in any case.
        must_unload: whether to wait until every model is unloaded instead of until no request is in flight.
        is_hurried: polled; once it returns True the call returns at once.
    """
    process.terminate()
    started_s = time.monotonic()
    while process.poll() is None and not is_hurried():
        waited_s = time.monotonic() - started_s
        log.read_new()
        summary = log.summary
        is_unloaded = set(summary.loaded) <= set(summary.unloaded)
        is_idle = summary.is_unloading or (summary.waits_for_connections and waited_s > IDLE_CONNECTION_S)
        if is_unloaded or (is_idle and not must_unload) or waited_s > exit_timeout_s + MARGIN_S:
            return
        time.sleep(EXIT_POLL_S)
