"""Hosts of photos, and what their names resolve to."""

from __future__ import annotations

import http.server
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

import triptych._images.download
from tests.unit.client.images.photo_host import Handler, Host, serve


@pytest.fixture
def host() -> Iterator[Host]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("HostHandler", (Handler,), {}))
    host = Host(server.server_port)
    server.RequestHandlerClass.host = host  # type: ignore[attr-defined]
    for _ in serve(server):
        yield host


@pytest.fixture
def only_loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets 127.0.0.1 stand for a public address, and leaves the rest of 127.0.0.0/8 private."""
    monkeypatch.setattr(triptych._images.download, "is_public", lambda address: address == "127.0.0.1")


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answers lookups of shop.example with 127.0.0.1; gives the names looked up."""
    names: list[str] = []
    real = socket.getaddrinfo

    def look_up(name: str, *arguments: Any, **options: Any) -> Any:
        names.append(name)
        return real("127.0.0.1" if name == "shop.example" else name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return names


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Trusted by the fetches of this test."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    monkeypatch.setattr(triptych._images.download, "_tls_context", lambda: context)
    return authority


@pytest.fixture
def secure_host(authority: trustme.CA) -> Iterator[Host]:
    """Its certificate is for shop.example."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("_SecureHandler", (Handler,), {}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("shop.example").configure_cert(context)
    # The handshake belongs to the thread of the request: it must not stop the one that accepts.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    host = Host(server.server_port)
    server.RequestHandlerClass.host = host  # type: ignore[attr-defined]
    for _ in serve(server):
        yield host
