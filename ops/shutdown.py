"""Ends a server: SIGTERM, and no longer a wait than something is left to be done.

Triton 2.51 sleeps a second for each Python process that it unloads (3 s for the four models here) and up to its whole
exit timeout for an idle HTTP connection. What is done by then: nothing is in flight, and a Python model without
`finalize` has nothing to save. The caller may kill the rest.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable

from ops.logs import LogReader

POLL_S = 0.02
# Triton keeps to its own exit timeout; this is for writing its last lines.
MARGIN_S = 1.0
# How long an open HTTP connection may yet turn out to carry a request.
IDLE_CONNECTION_S = 1.0


def shut_down(
    process: subprocess.Popen[bytes],
    log: LogReader,
    exit_timeout_s: float,
    must_unload: bool,
    is_hurried: Callable[[], bool],
) -> None:
    """Sends SIGTERM and returns when the server has ended or has nothing left to do.

    Args:
        process: the server.
        log: its log, where it says how far it is.
        exit_timeout_s: what the server was started with; it returns soon after that in any case.
        must_unload: wait until every model is unloaded, not only until nothing is in flight.
        is_hurried: asked again and again; once true it returns at once.
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
        time.sleep(POLL_S)
