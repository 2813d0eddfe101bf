"""The errors of `ops`; a command prints the message to stderr and exits with the error's exit code."""


class OpsError(Exception):
    """A command failed; the message says what was wrong, what was expected and what to do next."""

    exit_code = 1


class WrongUsage(OpsError):
    """The options or arguments of a command cannot be used."""

    exit_code = 2


class ServerFailed(OpsError):
    """The server did not become ready, or ended unexpectedly."""
