"""Progress bars; need the extra `cli`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from triptych._optional import require

if TYPE_CHECKING:
    from triptych._core.rebuild import RebuildStatus

R = TypeVar("R")


def watched(items: Iterator[R], images: object) -> Generator[R, None, None]:
    """Yields `items` and shows a progress bar, with a total if `images` has a length."""
    with _bar(images) as bar:
        for item in items:
            yield item
            bar.update()


async def watched_async(items: AsyncIterator[R], images: object) -> AsyncGenerator[R, None]:
    """`watched` for an event loop."""
    with _bar(images) as bar:
        async for item in items:
            yield item
            bar.update()


def phase_words(status: RebuildStatus) -> str:
    """The phase of a rebuild in words: "building HNSW index"."""
    return (status.phase or status.state).replace("_", " ").replace("hnsw", "HNSW")


@contextmanager
def watched_rebuild(is_shown: bool) -> Iterator[Callable[[RebuildStatus], None]]:
    """Gives a function that shows the status of a rebuild as a progress bar, phase by phase."""
    if not is_shown:
        yield lambda status: None
        return
    with _new_bar(None) as bar:
        shown: list[str] = []

        def show(status: RebuildStatus) -> None:
            phase = phase_words(status)
            if shown[-1:] != [phase]:
                shown.append(phase)
                bar.set_description(phase, refresh=False)
            bar.total = status.total or None
            bar.n = status.done
            bar.refresh()

        yield show


def _bar(images: object) -> Any:
    return _new_bar(len(images) if isinstance(images, Sized) else None)


def _new_bar(total: int | None) -> Any:
    return require("tqdm.auto", extra="cli", wanted_by="progress=True").tqdm(total=total, unit="photo")
