"""Photos by URL: slow hosts, hanging lookups, certificates."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

import triptych._images.download
from tests.unit.client.images.photo_host import PHOTO, Host, fetch
from triptych import FetchFailed, InvalidInput


def _drip_head(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    _drip(connection)


def _drip_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    _drip(connection)


def _drip(connection: socket.socket) -> None:
    while True:
        connection.sendall(b"x")
        time.sleep(0.02)


def _stay_silent(connection: socket.socket) -> None:
    while connection.recv(1000):
        pass


@pytest.mark.parametrize(
    ("scheme", "behave"),
    [("http", _drip_head), ("http", _drip_body), ("http", _stay_silent), ("https", _stay_silent)],
)
def test_fetch_fails_within_the_time_cap_when_the_host_is_slow(
    scheme: str, behave: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte that drips comes in time for a timeout of the socket: only a cap on the whole ends it."""
    monkeypatch.setattr(triptych._images.download, "TIME_CAP_S", 0.3)
    with closing(socket.create_server(("127.0.0.1", 0))) as server:

        def host() -> None:
            with server.accept()[0] as connection:
                try:
                    behave(connection)
                except OSError:  # the fetch was abandoned
                    return

        thread = threading.Thread(target=host)
        thread.start()
        with pytest.raises(FetchFailed):
            fetch(f"{scheme}://127.0.0.1:{server.getsockname()[1]}/photo")
        # Ends only because the abandoned fetch closed its connection.
        thread.join(20)
        assert not thread.is_alive()


def test_fetch_fails_within_the_time_cap_when_the_lookup_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triptych._images.download, "TIME_CAP_S", 0.1)
    go_on, ended = threading.Event(), threading.Event()

    def look_up(*_: Any, **__: Any) -> Any:
        go_on.wait(60)
        ended.set()
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(FetchFailed, match=r"within 0\.1 s"):
        fetch("http://shop.example/photo")
    assert not ended.is_set()
    go_on.set()
    assert ended.wait(20)


def test_fetch_fails_when_the_lookup_may_succeed_later(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(FetchFailed, match="Temporary failure"):
        fetch("http://shop.example/photo")


def test_photo_arrives_over_tls_when_certificate_names_the_host(secure_host: Host, lookups: list[str]) -> None:
    url = secure_host.url("/chain/2", "shop.example").replace("http:", "https:")
    assert fetch(url) == PHOTO
    assert lookups == ["shop.example"] * 3


def test_photo_is_refused_when_certificate_names_another_host(secure_host: Host) -> None:
    with pytest.raises(InvalidInput, match="is not trusted") as caught:
        fetch(secure_host.url("/photo").replace("http:", "https:"))
    assert type(caught.value) is InvalidInput
    assert secure_host.requests == []


def test_photo_is_refused_when_authority_is_unknown(
    secure_host: Host, lookups: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triptych._images.download, "_tls_context", ssl.create_default_context)
    with pytest.raises(InvalidInput, match="is not trusted"):
        fetch(secure_host.url("/photo", "shop.example").replace("http:", "https:"))
    assert lookups == ["shop.example"]
