"""Calls over HTTP, on kept connections of httpcore, the engine of httpx. Needs the extra `http`.

httpcore, because it lets a deadline of our own reach every read and write. httpx's timeouts are for each of them, so
that a server sending a byte now and then would hold a caller for ever.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from triptych.connection import Connection, http_addresses
from triptych.deadline import Deadline
from triptych.extras import require
from triptych.http_wire import (
    Addresses,
    HttpAnswer,
    HttpRequest,
    decode_answer,
    decode_infer,
    encode_infer,
    encode_question,
    is_leaving,
)
from triptych.protocol import InferAnswer, InferRequest, JsonObject, Question, TransportError
from triptych.transport import Headers

if TYPE_CHECKING:
    import httpcore
else:
    httpcore = require("httpcore", extra="http", wanted_by="transport='http'")

# A host that does not take a connection in this time is gone: leaves a default deadline of 10 s room for another.
_CONNECT_TIMEOUT_S = 5.0

# Triton waits for idle connections when it stops, so they do not stay open for long.
_KEEPALIVE_S = 5.0


class HttpTransport:
    """Blocking `Transport`; connects on the first call, with a connection for each call in flight."""

    def __init__(self, connection: Connection) -> None:
        self._wire = _Wire(connection)
        self._pool = httpcore.ConnectionPool(network_backend=_DeadlineBackend(), **_pool_options(connection))

    def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """See `Transport`."""
        return decode_infer(self._send(encode_infer(request, timeout_s, headers), timeout_s))

    def ask(self, question: Question, *, timeout_s: float, headers: Headers) -> JsonObject:
        """See `Transport`."""
        return decode_answer(question, self._send(encode_question(question, headers), timeout_s))

    def close(self) -> None:
        """See `Transport`."""
        self._pool.close()

    def _send(self, request: HttpRequest, timeout_s: float) -> HttpAnswer:
        # In httpcore's hands a timeout is whatever the network backend understands: here the deadline itself.
        deadline = Deadline(timeout_s)
        timeouts = dict.fromkeys(("connect", "read", "write"), deadline)
        address, call = self._wire.address_and_call(request, {**timeouts, "pool": timeout_s})
        try:
            return self._wire.noted(_answer(self._pool.request(**call)), address)
        except _FAILURES as error:
            raise self._wire.failure(error, address, deadline) from error


class AsyncHttpTransport:
    """`AsyncTransport` of the event loop it is made in; connects on the first call."""

    def __init__(self, connection: Connection) -> None:
        self._wire = _Wire(connection)
        self._pool = httpcore.AsyncConnectionPool(**_pool_options(connection))

    async def infer(self, request: InferRequest, *, timeout_s: float, headers: Headers) -> InferAnswer:
        """See `AsyncTransport`."""
        return decode_infer(await self._send(encode_infer(request, timeout_s, headers), timeout_s))

    async def ask(self, question: Question, *, timeout_s: float, headers: Headers) -> JsonObject:
        """See `AsyncTransport`."""
        return decode_answer(question, await self._send(encode_question(question, headers), timeout_s))

    async def close(self) -> None:
        """See `AsyncTransport`."""
        await self._pool.aclose()

    async def _send(self, request: HttpRequest, timeout_s: float) -> HttpAnswer:
        deadline = Deadline(timeout_s)
        address, call = self._wire.address_and_call(request, {"connect": _CONNECT_TIMEOUT_S})
        try:
            return self._wire.noted(_answer(await asyncio.wait_for(self._pool.request(**call), timeout_s)), address)
        except _FAILURES as error:
            raise self._wire.failure(error, address, deadline) from error


class _Wire:
    """What both transports know of a connection."""

    def __init__(self, connection: Connection) -> None:
        addresses = http_addresses(connection.target, connection.tls)
        self._addresses = Addresses(addresses, stay=connection.balance == "pick_first")
        self._key = dict((connection.api_key,)) if connection.api_key is not None else {}
        name = None if connection.tls is None else connection.tls.server_name
        self._extensions: dict[str, Any] = {} if name is None else {"sni_hostname": name}

    def address_and_call(self, request: HttpRequest, timeouts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Where the request goes, and the arguments of `ConnectionPool.request`."""
        address = self._addresses.take()
        call = {
            "method": request.verb,
            "url": address + request.path,
            "headers": {**request.headers, **self._key},
            "content": request.body,
            "extensions": {**self._extensions, "timeout": timeouts},
        }
        return address, call

    def noted(self, answer: HttpAnswer, address: str) -> HttpAnswer:
        """The answer; a server that says that it is going away is passed over for a while."""
        if is_leaving(answer):
            self._addresses.note_failure(address)
        return answer

    def failure(self, error: Exception, address: str, deadline: Deadline) -> TransportError:
        """What went wrong on the way, under gRPC's name of it."""
        if isinstance(error, _LATE) and deadline.remaining_s() <= 0:
            return TransportError("DEADLINE_EXCEEDED", "Deadline Exceeded")
        if isinstance(error, httpcore.RemoteProtocolError) and str(error).startswith("illegal"):
            return TransportError("UNIMPLEMENTED", f"no HTTP: {error}")
        self._addresses.note_failure(address)
        if isinstance(error, _LATE):
            return TransportError("UNAVAILABLE", f"no connection within {_CONNECT_TIMEOUT_S:g} s")
        if isinstance(error, httpcore.ConnectError):
            return TransportError("UNAVAILABLE", _reason(error))
        return TransportError("UNAVAILABLE", f"connection lost: {_reason(error)}")


_LATE = (httpcore.TimeoutException, asyncio.TimeoutError)
# OSError, because httpcore lets those of TLS through where anyio raises them: a refused certificate, for one.
_FAILURES = (*_LATE, httpcore.NetworkError, httpcore.RemoteProtocolError, OSError)


class _DeadlineBackend(httpcore.NetworkBackend):
    """Connects as httpcore does; timeouts are a `Deadline` that all reads and writes of a call share."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Any = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """See `httpcore.NetworkBackend`."""
        timeout_s = min(_remaining_s(timeout, httpcore.ReadTimeout), _CONNECT_TIMEOUT_S)
        return _DeadlineStream(self._inner.connect_tcp(host, port, timeout_s, local_address, socket_options))


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        return self._inner.read(max_bytes, _remaining_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        # Not through the inner stream: its timeout begins anew with each piece that the peer takes.
        connection, content = self._inner.get_extra_info("socket"), memoryview(buffer)
        while content:
            connection.settimeout(_remaining_s(timeout, httpcore.WriteTimeout))
            try:
                content = content[connection.send(content) :]
            except TimeoutError as error:
                raise httpcore.WriteTimeout from error
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Any = None
    ) -> httpcore.NetworkStream:
        timeout_s = min(_remaining_s(timeout, httpcore.ReadTimeout), _CONNECT_TIMEOUT_S)
        return _DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, timeout_s))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()


def _remaining_s(deadline: Deadline, late: type[Exception]) -> float:
    remaining_s = deadline.remaining_s()
    if remaining_s <= 0:
        raise late
    return remaining_s


def _pool_options(connection: Connection) -> dict[str, Any]:
    """As many connections as there are calls: `max_in_flight` bounds those of one iterable, threads the others."""
    return {
        "ssl_context": None if connection.tls is None else connection.tls.context(),
        "max_connections": None,
        "max_keepalive_connections": None,
        "keepalive_expiry": _KEEPALIVE_S,
    }


def _answer(response: httpcore.Response) -> HttpAnswer:
    headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
    return HttpAnswer(response.status, headers, response.content)


def _reason(error: BaseException) -> str:
    """The operating system's words: asyncio and anyio hide them under their own."""
    found = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (ssl.SSLError, socket.gaierror)):
            found = cause.strerror or found
        elif isinstance(cause, OSError) and cause.errno is not None:
            found = os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return found.lower()
