"""The `_many` calls: photos read lazily, a bounded number of requests in flight, constant memory."""

from __future__ import annotations

import asyncio
import contextvars
import itertools
import math
import queue
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from triptych.errors import InvalidInput
from triptych.results import Item

if TYPE_CHECKING:
    from triptych._images.photo import ImageLike

R = TypeVar("R")
Chunk = list[tuple[int, "ImageLike"]]


@dataclass(frozen=True)
class Flow:
    """How many photos go into one request and how many requests are made at once.

    Attributes:
        batch_size: photos in one request.
        requests: in flight.
        ordered: whether results leave in the order of their photos.
    """

    batch_size: int
    requests: int
    ordered: bool

    @property
    def window(self) -> int:
        """Most requests started and not yet taken: twice those in flight, so that a slow one delays none."""
        return 2 * self.requests


def check_batch_size(batch_size: int | None) -> None:
    """Raises `InvalidInput` unless `batch_size` is None or a number of photos."""
    if batch_size is not None and (not isinstance(batch_size, int) or isinstance(batch_size, bool) or batch_size < 1):
        raise InvalidInput(f"batch_size is {batch_size!r}; expected a whole number of photos, at least 1.")


def plan(max_batch_size: int, batch_size: int, max_in_flight: int, ordered: bool) -> Flow:
    """How many photos and requests: the batch size is at most the server's `max_batch_size` and `max_in_flight`."""
    size = min(batch_size, max_batch_size, max_in_flight)
    return Flow(size, math.ceil(max_in_flight / size), ordered)


def run(photos: Iterable[ImageLike], work: Callable[[Chunk], list[Item[R]]], flow: Flow) -> Iterator[Item[R]]:
    """The items of all photos, computed on threads. An error of the iterable is raised after the items before it."""
    chunks = _chunks(photos, flow.batch_size)
    executor = ThreadPoolExecutor(flow.requests, thread_name_prefix="triptych")
    under_way: deque[Future[list[Item[R]]]] = deque()
    done: queue.SimpleQueue[Future[list[Item[R]]]] = queue.SimpleQueue()
    broken: Exception | None = None
    begun = taken = 0
    try:
        while True:
            while broken is None and begun - taken < flow.window:
                chunk, broken = _take(chunks)
                if chunk is None:
                    break
                # The threads get the caller's context variables: the current trace span is one.
                future = executor.submit(contextvars.copy_context().run, work, chunk)
                begun += 1
                if flow.ordered:
                    under_way.append(future)
                else:
                    future.add_done_callback(done.put)
            if begun == taken:
                break
            finished = under_way.popleft() if flow.ordered else done.get()
            taken += 1
            yield from finished.result()
        if broken is not None:
            raise broken
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


async def run_async(
    photos: Iterable[ImageLike] | AsyncIterable[ImageLike],
    work: Callable[[Chunk], Awaitable[list[Item[R]]]],
    flow: Flow,
) -> AsyncGenerator[Item[R], None]:
    """`run` with tasks of the running event loop instead of threads."""
    chunks = _async_chunks(photos, flow.batch_size)
    slots = asyncio.Semaphore(flow.requests)
    tasks: set[asyncio.Task[list[Item[R]]]] = set()
    under_way: deque[asyncio.Task[list[Item[R]]]] = deque()
    done: asyncio.Queue[asyncio.Task[list[Item[R]]]] = asyncio.Queue()
    broken: Exception | None = None

    async def in_slot(chunk: Chunk) -> list[Item[R]]:
        async with slots:
            return await work(chunk)

    begun = taken = 0
    try:
        while True:
            while broken is None and begun - taken < flow.window:
                chunk, broken = await _take_async(chunks)
                if chunk is None:
                    break
                task = asyncio.create_task(in_slot(chunk))
                tasks.add(task)
                begun += 1
                if flow.ordered:
                    under_way.append(task)
                else:
                    task.add_done_callback(done.put_nowait)
            if begun == taken:
                break
            finished = await under_way.popleft() if flow.ordered else (await done.get()).result()
            taken += 1
            tasks = {task for task in tasks if not task.done()}
            for item in finished:
                yield item
        if broken is not None:
            raise broken
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _chunks(photos: Iterable[Any], size: int) -> Iterator[Chunk]:
    numbered = enumerate(photos)
    while chunk := list(itertools.islice(numbered, size)):
        yield chunk


async def _async_chunks(photos: Iterable[Any] | AsyncIterable[Any], size: int) -> AsyncIterator[Chunk]:
    if isinstance(photos, Iterable):
        for chunk in _chunks(photos, size):
            yield chunk
        return
    chunk = []
    index = 0
    async for photo in photos:
        chunk.append((index, photo))
        index += 1
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _take(chunks: Iterator[Chunk]) -> tuple[Chunk | None, Exception | None]:
    """The next chunk and the error of the caller's iterable, which may raise anything; no chunk at the end."""
    try:
        return next(chunks, None), None
    except Exception as error:
        return None, error


async def _take_async(chunks: AsyncIterator[Chunk]) -> tuple[Chunk | None, Exception | None]:
    """`_take` for an asynchronous iterator."""
    try:
        return await anext(chunks, None), None
    except Exception as error:
        return None, error
