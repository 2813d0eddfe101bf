"""On loopback: an HTTP CONNECT proxy that forwards, refuses or hangs, and servers whose `recognizer` is ready."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from tritonclient.grpc import service_pb2


class ConnectProxy:
    """A proxy on a free port; `heads` are the requests that it got.

    Args:
        answer: what it answers to every CONNECT; None forwards to `onward`, empty bytes leave the caller waiting.
        onward: the port of 127.0.0.1 that stands for every named server.
    """

    def __init__(self, answer: bytes | None, onward: int = 0) -> None:
        self.heads: list[str] = []
        self._answer = answer
        self._onward = onward
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> ConnectProxy:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(20)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._start(self._serve, self._held(self._listener.accept()[0]))

    def _serve(self, caller: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            got = caller.recv(1)
            if not got:
                return
            head += got
        self.heads.append(head.decode())
        if self._answer is not None:
            caller.sendall(self._answer)
            if self._answer:
                caller.shutdown(socket.SHUT_WR)
            return
        server = self._held(socket.create_connection(("127.0.0.1", self._onward)))
        caller.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._start(_pump, caller, server)
        _pump(server, caller)

    def _held(self, each: socket.socket) -> socket.socket:
        self._open.append(each)
        return each

    def _start(self, function: Any, *arguments: Any) -> None:
        thread = threading.Thread(target=function, args=arguments)
        self._threads.append(thread)
        thread.start()


def _pump(source: socket.socket, drain: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            drain.sendall(piece)


@contextlib.contextmanager
def grpc_server(credentials: grpc.ServerCredentials | None = None, address: str = "127.0.0.1:0") -> Iterator[int]:
    """A gRPC server that says that every model is ready; gives its port."""
    server = grpc.server(ThreadPoolExecutor(4))
    ready = grpc.unary_unary_rpc_method_handler(
        lambda request, context: service_pb2.ModelReadyResponse(ready=True),
        service_pb2.ModelReadyRequest.FromString,
        service_pb2.ModelReadyResponse.SerializeToString,
    )
    service = grpc.method_handlers_generic_handler("inference.GRPCInferenceService", {"ModelReady": ready})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait()


class _Ready(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class _Server6(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6


@contextlib.contextmanager
def http_server(host: str = "127.0.0.1") -> Iterator[int]:
    """The same over HTTP."""
    kind = _Server6 if ":" in host else http.server.ThreadingHTTPServer
    server = kind((host, 0), _Ready)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
