"""The error of the load tests."""


class LoadTestError(RuntimeError):
    """A command could not measure, or cannot use a file; the message says the cause and the next step."""
