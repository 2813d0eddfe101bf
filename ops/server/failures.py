"""Detects a failed start and describes why a server did not start or ended. Must not print."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from ops.errors import ServerFailed
from ops.server.logs import LoadFailure, LogSummary
from ops.server.processes import has_dead_child

# After the first model fails, the other models get this long to report their own failures.
MORE_FAILURES_S = 1.5
# Triton 2.51 waits without end for a stub that died before its first answer; it reaps other ended stubs at once.
DEAD_STUB_S = 3.0
SHOWN = 3
# Errors before the end of a server that say why it ended; earlier ones are refusals of requests.
LAST_WORDS_S = 5.0


class StartWatch:
    """Checks a starting server for failure; the caller polls it until the server is ready. Slow is not failed."""

    def __init__(self, process: subprocess.Popen[bytes], log_file: Path) -> None:
        self._process = process
        self._log_file = log_file
        self._failed_since_s: float | None = None
        self._dead_stub_since_s: float | None = None

    def raise_if_failed(self, summary: LogSummary, *, has_ended: bool) -> None:
        """Raises:
        ServerFailed: the server has ended, or cannot become ready.
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


def describe_load_failure(summary: LogSummary, log_file: Path) -> str:
    causes = list(dict.fromkeys(summary.causes()))
    if causes:
        lines = [_describe_failure(cause) for cause in causes[:SHOWN]]
        if len(causes) > SHOWN:
            lines.append(f"... and {len(causes) - SHOWN} more.")
    elif summary.shows_usage:
        said = " ".join(line.rpartition("tritonserver: ")[2] for line in summary.plain) or "see the log."
        lines = [f"The server does not take its options: {said} Correct --server-option."]
    elif summary.errors:
        lines = [f"The server did not start: {_last(summary.errors)}"]
    elif _still_loading(summary):
        models = ", ".join(_still_loading(summary))
        lines = [f"The server did not start: a model process ended while it loaded {models}."]
    else:
        said = " / ".join(summary.plain) or "it did not say why."
        lines = [f"The server did not start: {said}"]
    return "\n".join([*lines, f"Full log: {log_file}"])


def _describe_failure(failure: LoadFailure) -> str:
    reason = failure.reason.removeprefix(f"{failure.model}: ")
    return f"Model {failure.model} did not load: {reason}" if failure.model else f"A model did not load: {reason}"


def describe_slow_start(summary: LogSummary, timeout_s: float, log_file: Path) -> str:
    models = ", ".join(_still_loading(summary)) or "none named in the log"
    return (
        f"The server was not ready after {timeout_s:g} s; models still loading: {models}. "
        f"Set a longer --startup-timeout-s. Full log: {log_file}"
    )


def describe_death(exit_code: int, summary: LogSummary, log_file: Path) -> str:
    how = f"killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"
    said = [*summary.errors_since(time.monotonic() - LAST_WORDS_S), *summary.plain]
    last = f" Last errors: {_last(list(dict.fromkeys(said)))}" if said else ""
    return f"The server ended unexpectedly ({how}).{last} Full log: {log_file}"


def _still_loading(summary: LogSummary) -> list[str]:
    return sorted(set(summary.loading) - set(summary.loaded))


def _last(errors: list[str]) -> str:
    return " / ".join(line.strip() for line in errors[-SHOWN:])
