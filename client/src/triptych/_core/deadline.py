"""The deadline of a call, shared by all its tries."""

from __future__ import annotations

import time

from triptych.errors import InvalidInput

# gRPC treats a deadline in 1e10 s as one that has passed.
MAX_TIMEOUT_S = 1e9


class Deadline:
    """A point in time, `timeout_s` seconds after the object was created."""

    def __init__(self, timeout_s: float) -> None:
        self._end_s = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Seconds left; zero or less after the deadline."""
        return self._end_s - time.monotonic()


def check_timeout(timeout_s: float) -> None:
    """Raises `InvalidInput` unless `timeout_s` is a number of seconds that gRPC can wait."""
    is_number = isinstance(timeout_s, (int, float)) and not isinstance(timeout_s, bool)
    if not is_number or not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise InvalidInput(
            f"timeout_s is {timeout_s!r}; expected seconds, above 0 and up to {MAX_TIMEOUT_S:g}. "
            "Pass 10, for example, for ten seconds."
        )
