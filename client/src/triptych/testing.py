"""A Triptych without a server, for the tests of code that calls one.

    fake = FakeServer()
    client = fake_client(fake)

The client is a real one: contract check, retries, error translation and batches are those of production. Only the
server is played, in this process and without a socket.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from triptych.async_client import AsyncClient
from triptych.client import Client
from triptych.fake_catalogue import FakeCatalogue
from triptych.fake_server import LABELS, Failure, FakeServer, RecordedCall, Scores
from triptych.protocol import InferAnswer, InferRequest, JsonObject, Question, TransportError
from triptych.transport import Headers

__all__ = [
    "LABELS",
    "Failure",
    "FakeCatalogue",
    "FakeServer",
    "RecordedCall",
    "Scores",
    "TransportError",
    "fake_async_client",
    "fake_client",
]

# One server: a name might stand for several. The address is one that documents may use (RFC 5737).
TARGET = "192.0.2.1:8001"


class FakeTransport:
    """Carries the calls of a `Client` to a `FakeServer`; see `transport.Transport`."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """See `Transport`."""
        time.sleep(self._server.receive(request, timeout_s, headers))
        return self._server.infer(request, timeout_s)

    def ask(self, question: Question, *, timeout_s: float, headers: Headers) -> JsonObject:
        """See `Transport`."""
        time.sleep(self._server.receive(question, timeout_s, headers))
        return self._server.ask(question, timeout_s)

    def close(self) -> None:
        """See `Transport`."""
        self._server.closed += 1


class AsyncFakeTransport:
    """The same for an `AsyncClient`."""

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    async def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """See `AsyncTransport`."""
        await asyncio.sleep(self._server.receive(request, timeout_s, headers))
        return self._server.infer(request, timeout_s)

    async def ask(self, question: Question, *, timeout_s: float, headers: Headers) -> JsonObject:
        """See `AsyncTransport`."""
        await asyncio.sleep(self._server.receive(question, timeout_s, headers))
        return self._server.ask(question, timeout_s)

    async def close(self) -> None:
        """See `AsyncTransport`."""
        self._server.closed += 1


def fake_client(server: FakeServer | None = None, target: str = TARGET, **arguments: Any) -> Client:
    """A `Client` whose calls `server` answers; `arguments` are those of `Client`."""
    return Client(target, **arguments, _transport=FakeTransport(server or FakeServer()))


def fake_async_client(server: FakeServer | None = None, target: str = TARGET, **arguments: Any) -> AsyncClient:
    """An `AsyncClient` whose calls `server` answers; `arguments` are those of `AsyncClient`."""
    return AsyncClient(target, **arguments, _transport=AsyncFakeTransport(server or FakeServer()))
