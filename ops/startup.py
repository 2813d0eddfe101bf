"""Decides, while models load, whether the start has failed; says nothing about a start that is only slow."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from ops.errors import ServerFailed
from ops.failures import describe_load_failure
from ops.logs import LogSummary
from ops.processes import has_dead_child

# After one model failed: time for others to say why they did too, before the start is given up.
MORE_FAILURES_S = 1.5
# A stub that died before it could answer leaves Triton 2.51 waiting for ever; a healthy one is reaped at once.
DEAD_STUB_S = 3.0


class StartWatch:
    """Looked at again and again until the server is ready."""

    def __init__(self, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self._process = process
        self._log_file = log_file
        self._failed_since_s: float | None = None
        self._dead_stub_since_s: float | None = None

    def raise_if_failed(self, summary: LogSummary, *, has_ended: bool) -> None:
        """Raises:
        ServerFailed: the server has ended, or will not get ready any more.
        """
        now_s = time.monotonic()
        if summary.failures:
            self._failed_since_s = self._failed_since_s or now_s
        if has_dead_child(self._process.pid):
            self._dead_stub_since_s = self._dead_stub_since_s or now_s
        else:
            self._dead_stub_since_s = None
        is_certain = self._failed_since_s is not None and now_s - self._failed_since_s > MORE_FAILURES_S
        is_stuck = self._dead_stub_since_s is not None and now_s - self._dead_stub_since_s > DEAD_STUB_S
        if has_ended or is_certain or is_stuck:
            raise ServerFailed(describe_load_failure(summary, self._log_file))
