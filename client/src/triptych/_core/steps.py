"""Steps: the I/O that a call needs, described as values. The clients perform them; the rest of `_core` yields them.

A call is a generator. It yields a step, and receives the step's result or has the step's error thrown into it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from triptych._core.protocol import Call

if TYPE_CHECKING:
    from triptych._images.photo import ImageLike
    from triptych._images.pixels import Box

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Read:
    """Read a photo, or the part of it in `box` -> its encoded bytes."""

    photo: ImageLike
    box: Box | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Send a call with a timeout -> its answer."""

    call: Call
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait -> None."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Run a function that takes milliseconds of processor time -> its result."""

    function: Callable[[], Any]


Step = Read | Send | Pause | Work
Steps = Generator[Step, Any, T]


def drive(steps: Generator[S, Any, T], perform: Callable[[S], object]) -> T:
    """Performs the steps of a call one after the other; returns the result of the call."""
    try:
        step = next(steps)
        while True:
            try:
                result = perform(step)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        value: T = end.value
        return value


async def drive_async(steps: Generator[S, Any, T], perform: Callable[[S], Awaitable[object]]) -> T:
    """`drive` for an event loop."""
    try:
        step = next(steps)
        while True:
            try:
                result = await perform(step)
            except BaseException as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as end:
        value: T = end.value
        return value
