"""Exit codes of the command, and the two errors that lead to them."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
# The exit codes of a process that SIGINT or SIGPIPE ended.
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141


class WrongUsage(Exception):
    """The arguments are wrong; exit code 2."""


class CommandFailed(Exception):
    """The command started and failed; exit code 1."""
