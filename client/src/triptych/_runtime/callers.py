"""What `Admin` and `Catalogue` need of the client that made them, so that they import no client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Coroutine, Generator, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from triptych._core.protocol import Priority
    from triptych._core.recognition import Task
    from triptych._core.session import Options, Session
    from triptych._core.steps import Steps
    from triptych._images.photo import ImageLike
    from triptych.results import Item

R = TypeVar("R")
T = TypeVar("T")


class Caller(Protocol):
    """`Client`, for the objects that call through it."""

    _session: Session
    _options: Options

    def _run(self, steps: Steps[T]) -> T:
        """Performs the steps of a call."""

    def _many(
        self,
        task: Task[R],
        images: Iterable[ImageLike],
        batch_size: int | None,
        ordered: bool,
        max_in_flight: int | None,
        progress: bool,
    ) -> Generator[Item[R], None, None]:
        """Performs a task on many photos."""

    def with_options(self, *, priority: Priority | None = None) -> Caller:
        """A client with another priority over the same connection."""


class AsyncCaller(Protocol):
    """`AsyncClient`, for the objects that call through it."""

    _session: Session
    _options: Options

    def _run(self, steps: Steps[T]) -> Coroutine[Any, Any, T]:
        """See `Caller`."""

    def _many(
        self,
        task: Task[R],
        images: Iterable[ImageLike] | AsyncIterable[ImageLike],
        batch_size: int | None,
        ordered: bool,
        max_in_flight: int | None,
        progress: bool,
    ) -> AsyncGenerator[Item[R], None]:
        """See `Caller`."""

    def with_options(self, *, priority: Priority | None = None) -> AsyncCaller:
        """See `Caller`."""
