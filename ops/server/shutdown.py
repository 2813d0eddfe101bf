"""Ends a server without losing a request: waits until the front's requests are answered, then sends SIGTERM.

Draining comes first because Triton 2.51 refuses the next step of an ensemble after SIGTERM: without draining, 5 of 16
requests in flight failed with "Server is stopping". After SIGTERM, Triton 2.51 sleeps 1 s for each Python process that
it unloads (3 s for the four models here) and waits up to its exit timeout for an idle HTTP connection. Neither wait is
needed once no request is in flight and no Python model has a `finalize`; the caller may kill the remaining processes.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from ops.server.front_process import FrontProcess
from ops.server.logs import LogReader

DRAIN_POLL_S = 0.05
EXIT_POLL_S = 0.02
# Added to Triton's own exit timeout, for its last log lines.
MARGIN_S = 1.0
# An open HTTP connection may still deliver a request within this time.
IDLE_CONNECTION_S = 1.0


def wait_until_answered(front: FrontProcess, timeout_s: float, is_hurried: Callable[[], bool]) -> bool:
    """Returns True once every request that the front has let in is answered; False at the timeout or when hurried."""
    deadline_s = time.monotonic() + timeout_s
    while front.count_active():
        if time.monotonic() > deadline_s or is_hurried():
            return False
        time.sleep(DRAIN_POLL_S)
    return True


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
