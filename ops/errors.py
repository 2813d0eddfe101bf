"""What a command could not do, said in a sentence or two; `python -m ops` prints the message and exits."""


class OpsError(Exception):
    """The command failed: the message says what was wrong, what was expected and what to do next."""

    exit_code = 1


class WrongUsage(OpsError):
    """The command was asked for something that cannot be."""

    exit_code = 2


class ServerFailed(OpsError):
    """The server did not become ready, or died by itself."""
