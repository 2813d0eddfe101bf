"""What the load tests refuse with: a sentence that says what was wrong and what to do next."""


class LoadTestError(RuntimeError):
    """Nothing was measured, or nothing can be made of it."""
