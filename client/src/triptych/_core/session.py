"""The state of one client and of one call: options, session, deadline, observers. Performs no I/O."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from triptych._core.deadline import Deadline
from triptych._core.protocol import Priority, Source
from triptych._core.recognition import Contract
from triptych._core.retry import Retry, RetryBudget
from triptych.errors import TriptychError


class Observer(Protocol):
    """Receives an event for every inference request, on the thread that makes the request; must return quickly.

    `triptych.metrics.ClientMetrics` is one.
    """

    def started(self, method: str) -> None:
        """A request of `recognize`, `classify`, `embed`, `search`, `search_embedding` or `similar_to` starts."""

    def ended(self, method: str, seconds: float, error: BaseException | None) -> None:
        """The request succeeded or failed; `seconds` includes retries and the pauses between them."""

    def retried(self, error: TriptychError) -> None:
        """A try failed with `error` and will be repeated."""


@dataclass
class Session:
    """The state that all calls of one client share.

    Attributes:
        target: the server's address, for messages and journals.
        has_others: whether the target may stand for several servers: a list of addresses, or a name.
        contract: the server's `recognizer`, once its metadata has been read.
        max_batch_size: of the server's `recognizer`, once its configuration has been read.
    """

    target: str
    observers: Sequence[Observer] = ()
    budget: RetryBudget = field(default_factory=RetryBudget)
    contract: Contract | None = None
    max_batch_size: int | None = None
    closed: bool = False
    catalogue_key: str | None = field(default=None, repr=False)
    has_others: bool = False


@dataclass(frozen=True)
class Options:
    """The options that `with_options` may change; the arguments of `Client` of the same names."""

    timeout_s: float
    retry: Retry
    max_in_flight: int
    priority: Priority | None = None
    source: Source | None = None


@dataclass(frozen=True)
class Context:
    """One call in progress."""

    session: Session
    options: Options
    deadline: Deadline
    request_id: str


def open_context(session: Session, options: Options, timeout_s: float | None = None) -> Context:
    """A context whose deadline starts now."""
    return Context(session, options, Deadline(timeout_s or options.timeout_s), uuid.uuid4().hex)


@contextmanager
def observe(session: Session, method: str) -> Iterator[None]:
    """Reports the request made in the `with` block to the session's observers."""
    for observer in session.observers:
        observer.started(method)
    error: BaseException | None = None
    started_s = time.perf_counter()
    try:
        yield
    except BaseException as caught:
        error = caught
        raise
    finally:
        for observer in session.observers:
            observer.ended(method, time.perf_counter() - started_s, error)
