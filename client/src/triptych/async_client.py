"""The client for event loops. Owns tasks and the connection; how a call goes belongs to `calls`."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import os
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from triptych import calls, explaining, pipeline, protocol
from triptych.admin import AsyncAdmin
from triptych.calls import Pause, Read, Step, Steps, Work
from triptych.configuration import (
    DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_RETRY,
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT_S,
    arguments_from_env,
    checked_options,
    configure,
)
from triptych.connection import TLS, Auth, Balance, Carrier, Connection
from triptych.photo import ImageLike, read_photo
from triptych.progress import watched_async
from triptych.protocol import InferRequest, Priority
from triptych.recognizer import Classify, Embed, Recognize, Task
from triptych.results import Classification, Embedding, Explanation, Item, Label, Recognition
from triptych.retry import Retry
from triptych.search_client import AsyncSearching
from triptych.server_state import Health, Model, ModelStatistics, read_statistics
from triptych.transport import AsyncTransport

if TYPE_CHECKING:
    from types import TracebackType

    from triptych.observation import Observer

R = TypeVar("R")
T = TypeVar("T")


class AsyncClient(AsyncSearching):
    """`Client` for an event loop: the same names and arguments, awaited.

    Belongs to the loop that first uses it.

    Example:
        >>> async with AsyncClient("127.0.0.1:8001") as client:  # doctest: +SKIP
        ...     print((await client.recognize("shoe.jpg")).top)
        Shoes / running shoe
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        retry: Retry = DEFAULT_RETRY,
        max_in_flight: int = DEFAULT_MAX_IN_FLIGHT,
        channels: int = 1,
        tls: TLS | None = None,
        auth: Auth | None = None,
        api_key: str | None = None,
        balance: Balance = "round_robin",
        transport: Carrier = "grpc",
        shared_memory: bool = False,
        private_urls: bool = False,
        metrics: Observer | None = None,
        tracing: bool = False,
        catalogue_key: str | None = None,
        priority: Priority | None = None,
        _transport: AsyncTransport | None = None,
    ) -> None:
        """Prepares a client; see `Client`."""
        self._configuration = configure(
            target,
            timeout_s=timeout_s,
            retry=retry,
            max_in_flight=max_in_flight,
            channels=channels,
            tls=tls,
            auth=auth,
            api_key=api_key,
            balance=balance,
            transport=transport,
            shared_memory=shared_memory,
            private_urls=private_urls,
            metrics=metrics,
            tracing=tracing,
            catalogue_key=catalogue_key,
            priority=priority,
        )
        self._options = self._configuration.options
        self._session = self._configuration.new_session()
        self._connected = _Connected(_transport)
        self._pid = os.getpid()
        self._owns_transport = True
        self._closed = False

    @classmethod
    def from_env(cls, **arguments: Any) -> AsyncClient:
        """A client as the environment says (`TRIPTYCH_TARGET`, ...; README.md lists all); `arguments` come first.

        Raises:
            InvalidInput: a variable that cannot be read, or what `Client` raises.
        """
        return cls(**{**arguments_from_env(), **arguments})

    def with_options(
        self,
        *,
        timeout_s: float | None = None,
        retry: Retry | None = None,
        max_in_flight: int | None = None,
        priority: Priority | None = None,
    ) -> AsyncClient:
        """A client with other options over the same connection. Closing it leaves the connection to this one.

        Raises:
            InvalidInput: a value no call can follow.
        """
        other = copy.copy(self)
        other._owns_transport = False
        given = {"timeout_s": timeout_s, "retry": retry, "max_in_flight": max_in_flight, "priority": priority}
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        other._options = checked_options(dataclasses.replace(self._options, **changed))
        return other

    @property
    def admin(self) -> AsyncAdmin:
        """Loading and unloading of models, for who may."""
        return AsyncAdmin(self)

    async def recognize(self, image: ImageLike, *, top_k: int = 5, min_score: float | None = None) -> Recognition:
        """See `Client.recognize`; a path, a URL and pixels are read on a thread."""
        return await self._one(Recognize(top_k, min_score), image)

    async def classify(self, image: ImageLike, *, top_k: int = 5, min_score: float | None = None) -> Classification:
        """See `Client.classify`."""
        return await self._one(Classify(top_k, min_score), image)

    async def embed(self, image: ImageLike) -> Embedding:
        """See `Client.embed`."""
        return await self._one(Embed(), image)

    async def explain(
        self, image: ImageLike, *, attribute: str = "category", label: Label | int | None = None
    ) -> Explanation:
        """See `Client.explain`."""
        return await self._run(explaining.explain(self._session, self._options, image, attribute, label))

    def recognize_many(
        self,
        images: Iterable[ImageLike] | AsyncIterable[ImageLike],
        *,
        top_k: int = 5,
        min_score: float | None = None,
        batch_size: int | None = None,
        ordered: bool = True,
        max_in_flight: int | None = None,
        progress: bool = False,
    ) -> AsyncIterator[Item[Recognition]]:
        """See `Client.recognize_many`; `images` may be an asynchronous iterable too."""
        return self._many(Recognize(top_k, min_score), images, batch_size, ordered, max_in_flight, progress)

    def classify_many(
        self,
        images: Iterable[ImageLike] | AsyncIterable[ImageLike],
        *,
        top_k: int = 5,
        min_score: float | None = None,
        batch_size: int | None = None,
        ordered: bool = True,
        max_in_flight: int | None = None,
        progress: bool = False,
    ) -> AsyncIterator[Item[Classification]]:
        """See `Client.classify_many`."""
        return self._many(Classify(top_k, min_score), images, batch_size, ordered, max_in_flight, progress)

    def embed_many(
        self,
        images: Iterable[ImageLike] | AsyncIterable[ImageLike],
        *,
        batch_size: int | None = None,
        ordered: bool = True,
        max_in_flight: int | None = None,
        progress: bool = False,
    ) -> AsyncIterator[Item[Embedding]]:
        """See `Client.embed_many`."""
        return self._many(Embed(), images, batch_size, ordered, max_in_flight, progress)

    async def models(self) -> tuple[Model, ...]:
        """See `Client.models`."""
        return await self._run(calls.models(self._session, self._options))

    async def health(self) -> Health:
        """See `Client.health`."""
        return await self._run(calls.health(self._session, self._options))

    async def wait_ready(self, timeout_s: float = 60.0) -> None:
        """See `Client.wait_ready`."""
        await self._run(calls.wait_ready(self._session, self._options, timeout_s))

    async def statistics(self) -> tuple[ModelStatistics, ...]:
        """See `Client.statistics`."""
        return read_statistics(await self._run(calls.ask(self._session, self._options, protocol.model_statistics())))

    async def close(self) -> None:
        """Gives the connection back. A second call does nothing."""
        if not self._closed:
            self._closed = True
            if self._owns_transport:
                self._session.closed = True
                if self._connected.transport is not None:
                    await self._connected.transport.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _one(self, task: Task[R], image: ImageLike) -> R:
        return await self._run(calls.one(self._session, self._options, task, image))

    def _many(
        self,
        task: Task[R],
        images: Iterable[ImageLike] | AsyncIterable[ImageLike],
        batch_size: int | None,
        ordered: bool,
        max_in_flight: int | None,
        progress: bool,
    ) -> AsyncIterator[Item[R]]:
        options = self._options if max_in_flight is None else self.with_options(max_in_flight=max_in_flight)._options
        pipeline.check_batch_size(batch_size)

        async def items() -> AsyncIterator[Item[R]]:
            largest = 1 if batch_size in (None, 1) else await self._run(calls.batch_size(self._session, options))
            flow = pipeline.plan(largest, batch_size or 1, options.max_in_flight, ordered)
            found = pipeline.run_async(
                images, lambda chunk: self._run(calls.many(self._session, options, task, chunk)), flow
            )
            async with contextlib.aclosing(found):
                async for item in found:
                    yield item

        return watched_async(items(), images) if progress else items()

    async def _run(self, steps: Steps[T]) -> T:
        transport = self._usable_transport()
        try:
            step = next(steps)
            while True:
                try:
                    given = await self._perform(step, transport)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(given)
        except StopIteration as end:
            result: T = end.value
            return result

    async def _perform(self, step: Step, transport: AsyncTransport) -> object:
        if isinstance(step, Read):
            if isinstance(step.photo, bytes) and step.box is None:
                return read_photo(step.photo)
            private_urls = self._configuration.private_urls
            return await asyncio.to_thread(read_photo, step.photo, private_urls=private_urls, box=step.box)
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        if isinstance(step, Work):
            return await asyncio.to_thread(step.function)
        headers = self._configuration.headers()
        if isinstance(step.call, InferRequest):
            return await transport.infer(step.call, timeout_s=step.timeout_s, headers=headers)
        return await transport.ask(step.call, timeout_s=step.timeout_s, headers=headers)

    def _usable_transport(self) -> AsyncTransport:
        """Connects on first use, because a connection belongs to the running loop."""
        if self._closed or self._session.closed:
            raise RuntimeError("This client is closed. Make a new AsyncClient, or call before close().")
        if os.getpid() != self._pid:
            raise RuntimeError("This client was made before a fork. Make one in each process.")
        loop = asyncio.get_running_loop()
        connected = self._connected
        if connected.loop is None:
            connected.loop = loop
            if connected.transport is None:
                connected.transport = _open(self._configuration.connection)
        if connected.loop is not loop or connected.transport is None:
            raise RuntimeError("This client belongs to another event loop. Make one AsyncClient in each loop.")
        return connected.transport


@dataclass
class _Connected:
    """The connection and its loop, shared with the clients that `with_options` made."""

    transport: AsyncTransport | None
    loop: asyncio.AbstractEventLoop | None = None


def _open(connection: Connection) -> AsyncTransport:
    if connection.carrier == "http":
        from triptych.http_transport import AsyncHttpTransport

        return AsyncHttpTransport(connection)
    if connection.shared_memory:
        from triptych.shared_memory import AsyncSharedMemoryTransport

        return AsyncSharedMemoryTransport(connection)
    from triptych.grpc_transport import AsyncGrpcTransport

    return AsyncGrpcTransport(connection)
