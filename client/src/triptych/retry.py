"""When a failed call is sent again: by what went wrong, after how long, and within which share of the load."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

from triptych.errors import DeadlineExceeded, InvalidInput, TriptychError

# A server that is going away refuses at once, without any work, while another answers: with two, 20 tries in turn all
# meet the wrong one once in a million calls. Together they take some 0.5 s.
_TRIES_ELSEWHERE = 20
_PAUSE_ELSEWHERE_S = 0.005


@dataclass(frozen=True)
class Retry:
    """How `Unavailable` is retried. Nothing else is: the caller's mistakes, refusals and spent deadlines stay.

    Where a target stands for several servers, one that is going away is left for another at once, beside all this.

    Pauses double from `first_pause_s` to `max_pause_s`, each drawn from the upper half of that length, so that callers
    who failed together do not come back together.
    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter (equal jitter).

    Attributes:
        tries: of one call, the first included; 1 never retries.
        first_pause_s: before the second try.
        max_pause_s: the longest pause.
        budget: retries allowed for each call made, over all calls of the client: 0.1 adds at most 10 % load.
        burst: retries allowed at once on top, for a server that drops many calls in flight.
        try_timeout_s: after which one try is given up, so that a frozen server leaves time for another; None gives each
            try all that is left.
    """

    tries: int = 4
    first_pause_s: float = 0.05
    max_pause_s: float = 2.0
    budget: float = 0.1
    burst: int = 64
    try_timeout_s: float | None = None

    def __post_init__(self) -> None:
        """Raises `InvalidInput` for values no retry can follow."""
        lengths = (self.first_pause_s, self.max_pause_s, self.budget, self.burst, self.try_timeout_s or 0)
        if self.tries < 1 or min(lengths) < 0:
            raise InvalidInput(
                f"{self!r} cannot be followed; expected tries of at least 1 and no negative number. "
                "Pass Retry(tries=1) for no retries."
            )

    def pause_s(self, tries_made: int, error: TriptychError) -> float | None:
        """Seconds to wait before the next try, or None when `error` after so many tries is the answer."""
        gave_one_try_up = self.try_timeout_s is not None and isinstance(error, DeadlineExceeded)
        if not (error.retryable or gave_one_try_up) or tries_made >= self.tries:
            return None
        longest_s: float = min(self.max_pause_s, self.first_pause_s * 2 ** (tries_made - 1))
        return random.uniform(longest_s / 2, longest_s)

    def pause_elsewhere_s(self, tries_made: int) -> float | None:
        """Seconds to wait before another server is asked, after so many refused without any work; None: no more.

        Such tries are none of `tries` and cost no `budget`: they do not burden whoever refuses.
        """
        if self.tries == 1 or tries_made >= _TRIES_ELSEWHERE:
            return None
        return random.uniform(0, _PAUSE_ELSEWHERE_S * tries_made)


class RetryBudget:
    """Counts calls and retries of one client; threads may share it.

    Each call adds `budget` of a retry, up to `burst`; each retry takes one. Starts full.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent = 0.0

    def note_call(self, retry: Retry) -> None:
        """Earns `retry.budget` of a retry back."""
        with self._lock:
            self._spent = max(0.0, self._spent - retry.budget)

    def take(self, retry: Retry) -> bool:
        """Whether one more retry is within the budget; if so it is spent."""
        with self._lock:
            if self._spent + 1 > retry.burst:
                return False
            self._spent += 1
            return True
