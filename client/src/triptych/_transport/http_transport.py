"""Calls over HTTP, on persistent connections of httpcore, the engine of httpx. Needs the extra `http`.

httpcore lets one deadline apply to every read and write of a call. The timeouts of httpx apply to each read and write,
so that a server that sends a byte now and then could block a caller without end.
"""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from triptych._core.deadline import Deadline
from triptych._core.protocol import InferAnswer, InferRequest, JsonObject, Question, TransportError
from triptych._optional import require
from triptych._transport.connection import Connection
from triptych._transport.http_encoding import (
    Addresses,
    HttpAnswer,
    HttpRequest,
    decode_answer,
    decode_infer,
    encode_infer,
    encode_question,
    is_leaving,
)
from triptych._transport.interface import Headers
from triptych._transport.routes import http_route
from triptych._transport.target import http_addresses

if TYPE_CHECKING:
    import httpcore
else:
    httpcore = require(
        "httpcore", extra="http", wanted_by="HTTP (transport='http', or a target with http:// or https://)"
    )

# Longest time to connect: leaves time for another host within the default deadline of 10 s.
_CONNECT_TIMEOUT_S = 5.0

# Triton waits for idle connections when it stops, so idle connections are closed soon.
_KEEPALIVE_S = 5.0


class HttpTransport:
    """The blocking `Transport` over HTTP; connects on the first call, with one connection per call in flight."""

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
        # httpcore passes timeouts unchanged to the network backend: here the timeout is the deadline itself.
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
    """The state that both transports share: addresses, key, extensions."""

    def __init__(self, connection: Connection) -> None:
        addresses = http_addresses(connection.target, connection.tls)
        self._addresses = Addresses(addresses, stay=connection.balance == "pick_first")
        self._key = dict((connection.api_key,)) if connection.api_key is not None else {}
        name = None if connection.tls is None else connection.tls.server_name
        self._extensions: dict[str, Any] = {} if name is None else {"sni_hostname": name}

    def address_and_call(self, request: HttpRequest, timeouts: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The address of the request, and the arguments of `ConnectionPool.request`."""
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
        """The answer; a server that shuts down is skipped for a time."""
        if is_leaving(answer):
            self._addresses.note_failure(address)
        return answer

    def failure(self, error: Exception, address: str, deadline: Deadline) -> TransportError:
        """The failure of a call, with its gRPC status."""
        if isinstance(error, _LATE) and deadline.remaining_s() <= 0:
            return TransportError("DEADLINE_EXCEEDED", "Deadline Exceeded")
        if isinstance(error, httpcore.RemoteProtocolError) and str(error).startswith("illegal"):
            return TransportError("UNIMPLEMENTED", f"no HTTP: {error}")
        self._addresses.note_failure(address)
        if isinstance(error, _LATE):
            detail = f"no connection within {_CONNECT_TIMEOUT_S:g} s"
            return TransportError("UNAVAILABLE", http_route(address).annotated(detail))
        if isinstance(error, httpcore.ConnectError):
            return TransportError("UNAVAILABLE", http_route(address).annotated(_reason(error)))
        return TransportError("UNAVAILABLE", f"connection lost: {_reason(error)}")


_LATE = (httpcore.TimeoutException, asyncio.TimeoutError)
# OSError, because httpcore does not translate the TLS errors of anyio: a refused certificate, for example.
_FAILURES = (*_LATE, httpcore.NetworkError, httpcore.RemoteProtocolError, OSError)


class _DeadlineBackend(httpcore.NetworkBackend):
    """httpcore's backend with a `Deadline` as timeout, which all reads and writes of a call share."""

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
        # Not through the inner stream: its timeout restarts with each piece that the peer accepts.
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
    """Options of the pool. Connections are unlimited: `max_in_flight` and the number of threads limit the calls."""
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
    """The message of the operating system, which asyncio and anyio replace by their own."""
    found = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, (ssl.SSLError, socket.gaierror)):
            found = cause.strerror or found
        elif isinstance(cause, OSError) and cause.errno is not None:
            found = os.strerror(cause.errno)
        cause = cause.__cause__ or cause.__context__
    return found.lower()
