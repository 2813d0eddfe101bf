"""Retries: which errors are retried, after which pause, within which share of the load."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

from triptych.errors import DeadlineExceeded, InvalidInput, TriptychError

# A server that shuts down refuses at once, without any work, while another one answers. With two servers in turn, all
# of 20 tries reach the wrong one once in a million calls. Together they take about 0.5 s.
_TRIES_ELSEWHERE = 20
_PAUSE_ELSEWHERE_S = 0.005


@dataclass(frozen=True)
class Retry:
    """How `Unavailable` is retried. Other errors are not retried.

    Where a target stands for several servers, a call that a server refuses while it shuts down goes to another one at
    once; such tries do not count.

    Pauses double from `first_pause_s` to `max_pause_s`. Each is drawn from the upper half of that length, so that
    callers that failed together do not retry together.
    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter (equal jitter).

    Attributes:
        tries: largest number of tries of one call, with the first; 1 never retries.
        first_pause_s: pause before the second try.
        max_pause_s: the longest pause.
        budget: retries per call, over all calls of the client: 0.1 adds at most 10 % load.
        burst: further retries that are allowed at once, for a server that drops many calls in flight.
        try_timeout_s: longest time of one try, so that a frozen server leaves time for another try; None gives each try
            the rest of the call's time.
    """

    tries: int = 4
    first_pause_s: float = 0.05
    max_pause_s: float = 2.0
    budget: float = 0.1
    burst: int = 64
    try_timeout_s: float | None = None

    def __post_init__(self) -> None:
        """Raises `InvalidInput` for values that are out of range."""
        lengths = (self.first_pause_s, self.max_pause_s, self.budget, self.burst, self.try_timeout_s or 0)
        if self.tries < 1 or min(lengths) < 0:
            raise InvalidInput(
                f"{self!r} is out of range; expected tries of at least 1 and no negative number. "
                "Pass Retry(tries=1) for no retries."
            )

    def pause_s(self, tries_made: int, error: TriptychError) -> float | None:
        """Seconds to wait before the next try; None where `error` is final after this number of tries."""
        gave_one_try_up = self.try_timeout_s is not None and isinstance(error, DeadlineExceeded)
        if not (error.retryable or gave_one_try_up) or tries_made >= self.tries:
            return None
        longest_s: float = min(self.max_pause_s, self.first_pause_s * 2 ** (tries_made - 1))
        return random.uniform(longest_s / 2, longest_s)

    def pause_elsewhere_s(self, tries_made: int) -> float | None:
        """Seconds to wait before the call goes to another server, after this number of refusals; None to stop.

        These tries count neither towards `tries` nor towards `budget`: they add no load to a server that refuses.
        """
        if self.tries == 1 or tries_made >= _TRIES_ELSEWHERE:
            return None
        return random.uniform(0, _PAUSE_ELSEWHERE_S * tries_made)


class RetryBudget:
    """The retries that one client may still make; threads may share it.

    Each call adds `budget` of a retry, up to `burst`; each retry uses one. Starts full.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spent = 0.0

    def note_call(self, retry: Retry) -> None:
        """Adds `retry.budget` of a retry."""
        with self._lock:
            self._spent = max(0.0, self._spent - retry.budget)

    def take(self, retry: Retry) -> bool:
        """Uses one retry; returns False where the budget has none left."""
        with self._lock:
            if self._spent + 1 > retry.burst:
                return False
            self._spent += 1
            return True
