"""Callers that never pause, each of whose answers is compared with the photo's golden one."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from triptych import Client, TriptychError

CALLERS = 8
# One photo among others in a batch is summed in another order; two photos of the samples are below 0.9.
SAME_COSINE = 1 - 1e-4


@dataclass(frozen=True)
class Failure:
    """Attributes:
    at_s: when it came, on the clock of `time.monotonic`.
    """

    at_s: float
    error: TriptychError


@dataclass
class Load:
    """What the callers saw.

    Attributes:
        took_s: of each answered call, and when it was answered.
        wrong: answers that are not the photo's.
    """

    took_s: list[tuple[float, float]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    wrong: int = 0

    @property
    def tries(self) -> int:
        return len(self.took_s) + len(self.failures)

    def kinds(self) -> dict[str, int]:
        """Class of error -> how often."""
        return dict(Counter(type(failure.error).__name__ for failure in self.failures))

    def recovery_s(self, since_s: float) -> float:
        """From a fault to the last call that failed."""
        return max((failure.at_s - since_s for failure in self.failures), default=0.0)

    def answered_after(self, since_s: float) -> int:
        return sum(at_s > since_s for at_s, _ in self.took_s)


class Golden:
    """Photos with their answers, asked once while nothing was wrong."""

    def __init__(self, client: Client, photos: Sequence[bytes]) -> None:
        self.photos = photos
        self.embeddings: list[npt.NDArray[np.float32]] = [client.embed(photo).vector for photo in photos]

    def fresh(self, number: int) -> bytes:
        """A photo nobody has sent before: no cache answers it."""
        return self.photos[number % len(self.photos)] + os.urandom(8)

    def is_right(self, number: int, embedding: npt.NDArray[np.float32]) -> bool:
        expected = self.embeddings[number % len(self.photos)]
        return bool(embedding.shape == expected.shape and float(embedding @ expected) > SAME_COSINE)


@contextmanager
def loaded(client: Client, golden: Golden, callers: int = CALLERS, pause_s: float = 0.0) -> Iterator[Load]:
    """Yields what is being seen; complete once left."""
    load, is_over, lock = Load(), threading.Event(), threading.Lock()

    def call(caller: int) -> None:
        number = caller
        while not is_over.is_set():
            number += callers
            started_s = time.monotonic()
            try:
                embedding = client.embed(golden.fresh(number)).vector
            except TriptychError as error:
                with lock:
                    load.failures.append(Failure(time.monotonic(), error))
                # As a person's program would; else a refused call is repeated thousands of times a second.
                is_over.wait(0.05)
                continue
            now_s = time.monotonic()
            with lock:
                load.took_s.append((now_s, now_s - started_s))
                load.wrong += not golden.is_right(number, embedding)
            if pause_s:
                is_over.wait(pause_s)

    with ThreadPoolExecutor(callers) as pool:
        calls = [pool.submit(call, caller) for caller in range(callers)]
        try:
            yield load
        finally:
            is_over.set()
        for each in calls:
            each.result()
