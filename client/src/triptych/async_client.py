"""The client for event loops. Owns the tasks and the connection; `_core` has the logic of the calls."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from triptych._core import calls, explanation, protocol
from triptych._core.protocol import InferRequest, Priority, Source
from triptych._core.recognition import Classify, Embed, Recognize, Task
from triptych._core.retry import Retry
from triptych._core.server_state import Health, Model, ModelStatistics, read_statistics
from triptych._core.steps import Pause, Read, Step, Steps, Work, drive_async
from triptych._images.photo import ImageLike, read_photo
from triptych._runtime import pipeline
from triptych._runtime.configuration import (
    DEFAULT_MAX_IN_FLIGHT,
    DEFAULT_RETRY,
    DEFAULT_TARGET,
    DEFAULT_TIMEOUT_S,
    arguments_from_env,
    checked_options,
    configure,
)
from triptych._runtime.progress import watched_async
from triptych._runtime.search_methods import AsyncSearchMethods
from triptych._transport.connection import Auth, Balance
from triptych._transport.interface import AsyncTransport
from triptych._transport.opening import open_async_transport
from triptych._transport.target import Carrier
from triptych._transport.tls import TLS
from triptych.admin import AsyncAdmin
from triptych.catalogue import AsyncCatalogue
from triptych.results import Classification, Embedding, Explanation, Item, Label, Recognition

if TYPE_CHECKING:
    from types import TracebackType

    from triptych._core.session import Observer

__all__ = [
    "AsyncClient",
]

R = TypeVar("R")
T = TypeVar("T")


class AsyncClient(AsyncSearchMethods):
    """`Client` for an event loop: the same methods and arguments, awaited.

    Belongs to the event loop that first uses it.

    Example:
        >>> async with AsyncClient("127.0.0.1:8001") as client:
        ...     print((await client.recognize("shoe.jpg")).top)
        Shoes / Loafer
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
        transport: Carrier | None = None,
        shared_memory: bool = False,
        private_urls: bool = False,
        metrics: Observer | None = None,
        tracing: bool = False,
        catalogue_key: str | None = None,
        priority: Priority | None = None,
        source: Source | None = None,
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
            source=source,
        )
        self._options = self._configuration.options
        self._session = self._configuration.new_session()
        self._connected = _Connected(_transport)
        self._pid = os.getpid()
        self._owns_transport = True
        self._closed = False

    @classmethod
    def from_env(cls, **arguments: Any) -> AsyncClient:
        """See `Client.from_env`."""
        return cls(**{**arguments_from_env(), **arguments})

    def with_options(
        self,
        *,
        timeout_s: float | None = None,
        retry: Retry | None = None,
        max_in_flight: int | None = None,
        priority: Priority | None = None,
        source: Source | None = None,
    ) -> AsyncClient:
        """See `Client.with_options`."""
        other = copy.copy(self)
        other._owns_transport = False
        given = {
            "timeout_s": timeout_s,
            "retry": retry,
            "max_in_flight": max_in_flight,
            "priority": priority,
            "source": source,
        }
        changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
        other._options = checked_options(dataclasses.replace(self._options, **changed))
        return other

    @property
    def admin(self) -> AsyncAdmin:
        """See `Client.admin`."""
        return AsyncAdmin(self)

    @property
    def catalogue(self) -> AsyncCatalogue:
        """See `Client.catalogue`."""
        return AsyncCatalogue(self)

    async def recognize(self, image: ImageLike, *, top_k: int = 5, min_score: float | None = None) -> Recognition:
        """See `Client.recognize`; paths, URLs and pixels are read on a thread."""
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
        return await self._run(explanation.explain(self._session, self._options, image, attribute, label))

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
        return await self._run(calls.list_models(self._session, self._options))

    async def health(self) -> Health:
        """See `Client.health`."""
        return await self._run(calls.check_health(self._session, self._options))

    async def wait_ready(self, timeout_s: float = 60.0) -> None:
        """See `Client.wait_ready`."""
        await self._run(calls.wait_ready(self._session, self._options, timeout_s))

    async def statistics(self) -> tuple[ModelStatistics, ...]:
        """See `Client.statistics`."""
        return read_statistics(await self._run(calls.ask(self._session, self._options, protocol.model_statistics())))

    async def close(self) -> None:
        """See `Client.close`."""
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
        return await self._run(calls.infer_one(self._session, self._options, task, image))

    def _many(
        self,
        task: Task[R],
        images: Iterable[ImageLike] | AsyncIterable[ImageLike],
        batch_size: int | None,
        ordered: bool,
        max_in_flight: int | None,
        progress: bool,
    ) -> AsyncGenerator[Item[R], None]:
        options = self._options if max_in_flight is None else self.with_options(max_in_flight=max_in_flight)._options
        pipeline.check_batch_size(batch_size)

        async def items() -> AsyncGenerator[Item[R], None]:
            largest = 1 if batch_size in (None, 1) else await self._run(calls.find_batch_size(self._session, options))
            flow = pipeline.plan(largest, batch_size or 1, options.max_in_flight, ordered)
            found = pipeline.run_async(
                images, lambda chunk: self._run(calls.infer_many(self._session, options, task, chunk)), flow
            )
            async with contextlib.aclosing(found):
                async for item in found:
                    yield item

        return watched_async(items(), images) if progress else items()

    async def _run(self, steps: Steps[T]) -> T:
        transport = self._usable_transport()
        return await drive_async(steps, lambda step: self._perform(step, transport))

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
        """The transport; connects on first use, because a connection belongs to the running loop."""
        if self._closed or self._session.closed:
            raise RuntimeError("This client is closed. Make a new AsyncClient, or call before close().")
        if os.getpid() != self._pid:
            raise RuntimeError("This client was made before a fork. Make one in each process.")
        loop = asyncio.get_running_loop()
        connected = self._connected
        if connected.loop is None:
            connected.loop = loop
            if connected.transport is None:
                connected.transport = open_async_transport(self._configuration.connection)
        if connected.loop is not loop or connected.transport is None:
            raise RuntimeError("This client belongs to another event loop. Make one AsyncClient in each loop.")
        return connected.transport


@dataclass
class _Connected:
    """The connection and its loop, shared with the clients that `with_options` made."""

    transport: AsyncTransport | None
    loop: asyncio.AbstractEventLoop | None = None
