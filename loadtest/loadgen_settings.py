"""What one run of LoadGen is asked for. Imports no LoadGen."""

from __future__ import annotations

from dataclasses import dataclass

SCENARIOS = ("SingleStream", "MultiStream", "Server", "Offline")


@dataclass(frozen=True)
class Settings:
    """One run.

    Attributes:
        prepared: folder with the corpus.
        rate: photos a second that are due; of Server and, as a guess, of Offline.
        samples_per_query: of MultiStream.
        threads: calls in flight at most; when all are busy, a call is late and says so.
    """

    scenario: str
    target: str
    prepared: str
    duration_s: float
    rate: float
    under_s: float
    fast_share: float
    repeat_share: float
    seed: int
    samples_per_query: int = 8
    threads: int = 256
    timeout_s: float = 10.0
