"""A progress bar over items as they come; needs the extra `cli`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sized
from typing import Any, TypeVar

from triptych.extras import require

R = TypeVar("R")


def watched(items: Iterator[R], images: object) -> Iterator[R]:
    """`items` unchanged; the bar knows its end where `images` has a length."""
    with _bar(images) as bar:
        for item in items:
            yield item
            bar.update()


async def watched_async(items: AsyncIterator[R], images: object) -> AsyncIterator[R]:
    """The same for an event loop."""
    with _bar(images) as bar:
        async for item in items:
            yield item
            bar.update()


def _bar(images: object) -> Any:
    tqdm = require("tqdm.auto", extra="cli", wanted_by="progress=True").tqdm
    return tqdm(total=len(images) if isinstance(images, Sized) else None, unit="photo")
