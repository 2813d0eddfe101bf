"""What a client needs of whatever carries its calls. `grpc_transport` and `http_transport` implement it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from triptych.protocol import InferAnswer, InferRequest, JsonObject, Question

Headers = Mapping[str, str]
HeaderSource = Callable[[], Headers]


class Transport(Protocol):
    """Blocking; threads may share it. Every failure is a `TransportError`."""

    def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """One inference. `timeout_s` also tells the server's queue when to give the request up."""

    def ask(self, question: Question, *, timeout_s: float, headers: Headers) -> JsonObject:
        """Any other call."""

    def close(self) -> None:
        """Gives the connections back."""


class AsyncTransport(Protocol):
    """The same for an event loop; belongs to the loop that first used it."""

    async def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """See `Transport.infer`."""

    async def ask(self, question: Question, *, timeout_s: float, headers: Headers) -> JsonObject:
        """See `Transport.ask`."""

    async def close(self) -> None:
        """See `Transport.close`."""
