"""How the command ends: exit codes, and the two errors that carry a sentence to them."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
# What a shell reports for a process ended by SIGINT and by SIGPIPE.
EXIT_INTERRUPTED = 130
EXIT_PIPE_CLOSED = 141


class WrongUsage(Exception):
    """The command cannot do what it was asked; exit code 2."""


class CommandFailed(Exception):
    """The command began and cannot go on; exit code 1."""
