"""The sentences for a server that does not come up, or goes down by itself."""

from __future__ import annotations

import signal
from pathlib import Path

from ops.logs import LoadFailure, LogSummary

SHOWN = 3


def describe_load_failure(summary: LogSummary, log_file: Path) -> str:
    causes = list(dict.fromkeys(summary.causes()))
    if causes:
        lines = [_describe_failure(cause) for cause in causes[:SHOWN]]
        if len(causes) > SHOWN:
            lines.append(f"... and {len(causes) - SHOWN} more.")
    elif summary.errors:
        lines = [f"The server did not start: {_last(summary.errors)}"]
    else:
        waiting = sorted(set(summary.loading) - set(summary.loaded))
        lines = [f"The server did not start: the process of a model ended while loading {', '.join(waiting) or 'it'}."]
    return "\n".join([*lines, f"Full log: {log_file}"])


def _describe_failure(failure: LoadFailure) -> str:
    reason = failure.reason.removeprefix(f"{failure.model}: ")
    return f"Model {failure.model} did not load: {reason}" if failure.model else f"A model did not load: {reason}"


def describe_slow_start(summary: LogSummary, timeout_s: float, log_file: Path) -> str:
    waiting = sorted(set(summary.loading) - set(summary.loaded))
    return (
        f"The server was not ready after {timeout_s:g} s; still loading: {', '.join(waiting) or 'nothing it names'}. "
        f"Allow more with --startup-timeout-s. Full log: {log_file}"
    )


def describe_death(exit_code: int, summary: LogSummary, log_file: Path) -> str:
    how = f"killed by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"
    said = f" Its last errors: {_last(summary.errors)}" if summary.errors else ""
    return f"The server died by itself ({how}).{said} Full log: {log_file}"


def _last(errors: list[str]) -> str:
    return " / ".join(line.strip() for line in errors[-SHOWN:])
