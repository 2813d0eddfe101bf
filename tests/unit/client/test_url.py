"""Photos by URL from hosts on this machine; what must not be reached, and hosts that misbehave."""

from __future__ import annotations

import http.server
import socket
import ssl
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import trustme

import triptych.url
from triptych import FetchFailed, ImageTooLarge, InvalidInput
from triptych.photo import read_photo
from triptych.url import MAX_REDIRECTS, fetch_photo, is_public

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PHOTO = b"\xff\xd8\xff\xe0 photo \x80\x00\x00" * 10_000
MAX_BYTES = 1_000_000

SPECIAL = """
0.0.0.0 10.0.0.1 100.64.0.1 100.100.100.200 127.0.0.1 127.255.255.255 168.63.129.16 169.254.169.254 172.16.0.1
172.31.255.255 192.0.0.1 192.0.2.1 192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1
239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::7f00:1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::7f00:1
64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1:: 2001:db8::1 2002:7f00:1:: 3fff::1 5f00::1 fc00::1
fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1
"""
ORDINARY = """
1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 172.15.255.255 172.32.0.0 192.167.255.255
223.255.255.255 2001:4860:4860::8888 2606:4700::1111 2a00:1450::1 64:ff9b::808:808
"""


@dataclass
class Host:
    """A photo host on a free port of the loopback address; keeps the requests it got."""

    port: int
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


class _Handler(http.server.BaseHTTPRequestHandler):
    host: ClassVar[Host]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.host.requests.append((self.path, dict(self.headers)))
        name, _, argument = self.path.removeprefix("/").partition("/")
        getattr(self, f"give_{name.partition('?')[0]}")(argument)

    def give_photo(self, _: str) -> None:
        self._give(PHOTO)

    def give_status(self, code: str) -> None:
        self._give(b"<p>no photo</p>", int(code))

    def give_redirect(self, to: str) -> None:
        self._give(b"", 302, {"Location": to})

    def give_chain(self, left: str) -> None:
        self._give(b"", 307, {"Location": f"/chain/{int(left) - 1}" if int(left) > 1 else "../photo"})

    def give_chunked(self, _: str) -> None:
        self._head(200, {"Transfer-Encoding": "chunked"})
        for start in range(0, len(PHOTO), 50_000):
            piece = PHOTO[start : start + 50_000]
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")

    def give_endless(self, _: str) -> None:
        self._head(200, {"Transfer-Encoding": "chunked"})
        piece = bytes(50_000)
        try:
            while True:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        except OSError:
            self.close_connection = True

    def give_torn(self, _: str) -> None:
        self._head(200, {"Content-Length": str(len(PHOTO))})
        self.wfile.write(PHOTO[:1000])
        self.close_connection = True

    def give_announced(self, size_bytes: str) -> None:
        self._head(200, {"Content-Length": size_bytes})
        self.close_connection = True

    def give_packed(self, _: str) -> None:
        self._give(PHOTO, 200, {"Content-Encoding": "gzip"})

    def give_nothing(self, _: str) -> None:
        self._give(b"")

    def _give(self, content: bytes, code: int = 200, headers: dict[str, str] | None = None) -> None:
        self._head(code, {"Content-Type": "text/html", "Content-Length": str(len(content)), **(headers or {})})
        self.wfile.write(content)

    def _head(self, code: int, headers: dict[str, str]) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


def _serve(server: http.server.ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def host() -> Iterator[Host]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("_HostHandler", (_Handler,), {}))
    host = Host(server.server_port)
    server.RequestHandlerClass.host = host  # type: ignore[attr-defined]
    for _ in _serve(server):
        yield host


@pytest.fixture
def only_loopback_is_public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets 127.0.0.1 stand for a public address, and leaves the rest of 127.0.0.0/8 private."""
    monkeypatch.setattr(triptych.url, "is_public", lambda address: address == "127.0.0.1")


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


def fetch(url: str, max_bytes: int = MAX_BYTES) -> bytes:
    return fetch_photo(url, private_urls=True, max_bytes=max_bytes)


@pytest.mark.parametrize("path", ["/photo", "/photo?signature=a%20b", "/chunked", "/chain/5"])
def test_photo_arrives_unchanged_when_its_host_gives_it(host: Host, path: str) -> None:
    content = read_photo(host.url(path), private_urls=True)
    assert content == PHOTO
    assert type(content) is bytes
    assert host.requests[0][0] == path


def test_photo_is_fetched_when_scheme_is_written_large(host: Host) -> None:
    assert read_photo(host.url("/photo").replace("http", "HTTP"), private_urls=True) == PHOTO


def test_request_target_is_quoted_when_url_is_not_ascii(host: Host) -> None:
    assert fetch(host.url("/photo?name=grüner schuh%20")) == PHOTO
    assert host.requests[0][0] == "/photo?name=gr%C3%BCner%20schuh%20"


def test_request_asks_for_formats_the_server_reads(host: Host) -> None:
    fetch(host.url("/photo"))
    headers = host.requests[0][1]
    assert headers["Accept"].startswith("image/jpeg")
    assert "avif" not in headers["Accept"]
    assert headers["Accept-Encoding"] == "identity"
    assert headers["Host"] == f"127.0.0.1:{host.port}"


def test_photo_comes_straight_from_its_host_when_environment_names_a_proxy(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert fetch(host.url("/photo")) == PHOTO


def test_host_is_looked_up_once_and_named_to_itself(host: Host, lookups: list[str]) -> None:
    assert fetch(host.url("/photo", "shop.example")) == PHOTO
    assert lookups == ["shop.example"]  # a second lookup could get another answer
    assert host.requests[0][1]["Host"] == f"shop.example:{host.port}"


def test_next_address_is_tried_when_the_first_refuses(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    two = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, host.port)) for address in ("127.0.0.2", "127.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: two)
    assert fetch(host.url("/photo", "shop.example")) == PHOTO


@pytest.mark.parametrize(
    "name",
    ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "127.1", "0.0.0.0", "[::ffff:127.0.0.1]", "127.9.9.9"],
)
def test_private_host_is_not_reached_when_private_urls_are_off(host: Host, name: str) -> None:
    with pytest.raises(InvalidInput, match=r"no public address.*private_urls=True") as caught:
        read_photo(host.url("/photo", name))
    assert not caught.value.retryable
    assert host.requests == []


@pytest.mark.usefixtures("only_loopback_is_public")
def test_private_host_is_not_reached_when_a_public_one_redirects_to_it(host: Host) -> None:
    there = host.url("/photo", "127.0.0.2")
    with pytest.raises(InvalidInput, match=r"127\.0\.0\.2, which is no public address"):
        fetch_photo(host.url(f"/redirect/{there}"), private_urls=False, max_bytes=MAX_BYTES)
    assert [path for path, _ in host.requests] == [f"/redirect/{there}"]
    again = host.url(f"/redirect/{host.url('/photo')}")
    assert fetch_photo(again, private_urls=False, max_bytes=MAX_BYTES) == PHOTO


@pytest.mark.usefixtures("only_loopback_is_public")
def test_only_public_addresses_are_tried_when_a_name_has_both(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    real, tried = socket.socket.connect, []
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, host.port)) for address in ("127.0.0.2", "127.0.0.1")]

    class _Socket(socket.socket):
        def connect(self, address: Any) -> None:
            tried.append(address[0])
            real(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    monkeypatch.setattr(socket, "socket", _Socket)
    assert fetch_photo(host.url("/photo", "shop.example"), private_urls=False, max_bytes=MAX_BYTES) == PHOTO
    assert tried == ["127.0.0.1"]


@pytest.mark.parametrize(
    "address",
    SPECIAL.split(),
)
def test_address_is_not_public_when_it_is_special(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address",
    ORDINARY.split(),
)
def test_address_is_public_when_it_is_ordinary(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://", "starts with http:// or https:// and a host"),
        ("https:///photo.jpg", "starts with http:// or https:// and a host"),
        ("http://[::1/photo", "cannot be a URL"),
        ("http://127.0.0.1:99999/photo", "cannot be a URL (Port out of range"),
        ("http://anna:secret@127.0.0.1/photo", "carries a user name or password"),
        (f"http://{'x' * 70}.example/photo", "names no host"),
        ("http://shop.invalid/photo", "names a host that does not exist"),
    ],
)
def test_url_is_refused_when_it_cannot_be_one(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def look_up(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "shop.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(InvalidInput) as caught:
        read_photo(url)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("path", "kind", "said"),
    [
        ("/status/404", InvalidInput, "answered 404 Not Found"),
        ("/status/403", InvalidInput, "answered 403 Forbidden"),
        ("/status/304", InvalidInput, "answered 304"),
        ("/status/429", FetchFailed, "answered 429"),
        ("/status/503", FetchFailed, "answered 503"),
        ("/torn", FetchFailed, "IncompleteRead"),
        ("/endless", ImageTooLarge, "more than 1 MB"),
        ("/announced/2000000", ImageTooLarge, "more than 1 MB"),
        ("/packed", InvalidInput, "packed with 'gzip'"),
        (f"/chain/{MAX_REDIRECTS + 1}", InvalidInput, f"more than {MAX_REDIRECTS} times"),
        ("/redirect/file:///etc/passwd", InvalidInput, "expected a URL that starts with http:// or https://"),
        ("/redirect/ftp://127.0.0.1/photo", InvalidInput, "expected a URL that starts with http:// or https://"),
    ],
)
def test_photo_is_refused_with_what_its_host_did(host: Host, path: str, kind: type[InvalidInput], said: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        fetch(host.url(f"{path}?signature=secret" if path.startswith("/torn") else path))
    assert type(caught.value) is kind
    assert caught.value.retryable is (kind is FetchFailed)
    message = str(caught.value)
    assert said in message
    assert "secret" not in message
    assert message.endswith(".")
    assert len(message) < 400


def test_photo_is_refused_when_it_is_one_byte_over_the_limit(host: Host) -> None:
    assert fetch(host.url("/photo"), max_bytes=len(PHOTO)) == PHOTO
    with pytest.raises(ImageTooLarge):
        fetch(host.url("/photo"), max_bytes=len(PHOTO) - 1)


def test_photo_is_refused_when_its_url_gives_nothing(host: Host) -> None:
    with pytest.raises(InvalidInput, match="a URL that gives nothing"):
        read_photo(host.url("/nothing"), private_urls=True)


def test_fetch_fails_when_nobody_listens() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with pytest.raises(FetchFailed, match="Connection refused"):
        fetch(f"http://127.0.0.1:{port}/photo")


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
    monkeypatch.setattr(triptych.url, "TIME_CAP_S", 0.3)
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
    monkeypatch.setattr(triptych.url, "TIME_CAP_S", 0.1)
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


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """Trusted by the fetches of this test."""
    authority = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    monkeypatch.setattr(triptych.url, "_tls_context", lambda: context)
    return authority


@pytest.fixture
def secure_host(authority: trustme.CA) -> Iterator[Host]:
    """Its certificate is for shop.example."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("_SecureHandler", (_Handler,), {}))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("shop.example").configure_cert(context)
    # The handshake belongs to the thread of the request: it must not stop the one that accepts.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]
    host = Host(server.server_port)
    server.RequestHandlerClass.host = host  # type: ignore[attr-defined]
    for _ in _serve(server):
        yield host


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
    monkeypatch.setattr(triptych.url, "_tls_context", ssl.create_default_context)
    with pytest.raises(InvalidInput, match="is not trusted"):
        fetch(secure_host.url("/photo", "shop.example").replace("http:", "https:"))
    assert lookups == ["shop.example"]
