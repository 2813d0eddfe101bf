"""Real clients whose transport is a `FakeServer`."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from triptych._core.protocol import InferAnswer, InferRequest, JsonObject, Question
from triptych._transport.interface import Headers
from triptych.async_client import AsyncClient
from triptych.client import Client
from triptych.testing.fake_server import FakeServer

# An IP address stands for one server, a name may stand for several. The address is reserved for documents (RFC 5737).
TARGET = "192.0.2.1:8001"


class FakeTransport:
    """Sends the calls of a `Client` to a `FakeServer`; see `Transport`."""

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
    """Sends the calls of an `AsyncClient` to a `FakeServer`."""

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
    """A `Client` of a fake server; `arguments` are those of `Client`."""
    return Client(target, **arguments, _transport=FakeTransport(server or FakeServer()))


def fake_async_client(server: FakeServer | None = None, target: str = TARGET, **arguments: Any) -> AsyncClient:
    """An `AsyncClient` of a fake server; `arguments` are those of `AsyncClient`."""
    return AsyncClient(target, **arguments, _transport=AsyncFakeTransport(server or FakeServer()))
