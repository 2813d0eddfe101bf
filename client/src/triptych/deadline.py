"""One budget of time over everything a call does."""

from __future__ import annotations

import time

from triptych.errors import InvalidInput

# gRPC takes a deadline 1e10 s away for one that has passed.
MAX_TIMEOUT_S = 1e9


class Deadline:
    """Runs out `timeout_s` seconds after it was made."""

    def __init__(self, timeout_s: float) -> None:
        self._end_s = time.monotonic() + timeout_s

    def remaining_s(self) -> float:
        """Seconds left; zero or less once it has run out."""
        return self._end_s - time.monotonic()


def check_timeout(timeout_s: float) -> None:
    """Raises `InvalidInput` unless `timeout_s` is a number of seconds gRPC can wait."""
    is_number = isinstance(timeout_s, (int, float)) and not isinstance(timeout_s, bool)
    if not is_number or not 0 < timeout_s <= MAX_TIMEOUT_S:
        raise InvalidInput(
            f"timeout_s is {timeout_s!r}; expected seconds, above 0 and up to {MAX_TIMEOUT_S:g}. "
            "Pass 10, for example, for ten seconds."
        )
