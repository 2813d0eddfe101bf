"""The interface of a transport, which `grpc_transport`, `http_transport` and `shared_memory` implement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from triptych._core.protocol import InferAnswer, InferRequest, JsonObject, Question

Headers = Mapping[str, str]
HeaderSource = Callable[[], Headers]


class Transport(Protocol):
    """A blocking transport; threads may share it. Every failure is a `TransportError`."""

    def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """Sends one inference. The server's queue also drops the request after `timeout_s`."""

    def ask(self, question: Question, *, timeout_s: float, headers: Headers) -> JsonObject:
        """Sends any other call."""

    def close(self) -> None:
        """Closes the connections."""


class AsyncTransport(Protocol):
    """A transport of the event loop that first uses it."""

    async def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """See `Transport.infer`."""

    async def ask(self, question: Question, *, timeout_s: float, headers: Headers) -> JsonObject:
        """See `Transport.ask`."""

    async def close(self) -> None:
        """See `Transport.close`."""
