"""Downloads a photo by URL, by default only from public addresses. Must not read the environment.

Each hop resolves the host name once, checks its addresses, and connects to one of the checked addresses: DNS rebinding
has no effect. No proxy is used, because a proxy resolves names itself.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NoResult
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from triptych._images.encoded_text import format_of
from triptych._images.web_pages import refuse_page
from triptych.errors import FetchFailed, ImageTooLarge, InvalidInput

TIME_CAP_S = 10.0
MAX_REDIRECTS = 5

_REDIRECTS = (301, 302, 303, 307, 308)
# Retryable statuses besides 5xx: request timeout, too early, too many requests.
_PASSING = (408, 425, 429)
# A host that negotiates sends a format that is quick to decode, and that a server one release older decodes too. A
# photo that exists only as AVIF or HEIC comes all the same.
_ACCEPT = "image/jpeg,image/png,image/webp,image/gif,image/bmp,image/tiff,*/*;q=0.1"
# gzip or zlib, told apart by the header.
_ANY_ZLIB = 47
_INSTEAD = "Download the photo and pass its bytes."
_SHOWN_CHARACTERS = 80
# Characters that a URL may contain unquoted (RFC 3986), and "%", so that quoted parts stay unchanged.
_UNQUOTED = "/%:@!$&'()*+,;=?~"

# Source: IANA's registries of special-purpose addresses, October 2025. Python's own `is_global` differs by patch
# release. Any IPv6 address outside 2000::/3 is special too: loopback, mapped IPv4, unique local, link-local, multicast.
_SPECIAL = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # answers only inside Azure, with the host's configuration
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
        "2001::/23",  # with Teredo, which wraps IPv4
        "2001:db8::/32",
        "2002::/16",  # 6to4, which wraps IPv4
        "3fff::/20",
    )
)
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
# Wraps an IPv4 address for networks without IPv4 (RFC 6052): public if the IPv4 address is.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def fetch_photo(url: str, *, private_urls: bool, max_bytes: int) -> bytes:
    """Downloads the content of a URL, unchanged, regardless of its content type. A web page is refused.

    Args:
        url: http or https.
        private_urls: whether addresses that are not public are allowed.
        max_bytes: largest size of the content; the download stops there.

    Raises:
        InvalidInput: no URL, no public address, an untrusted certificate, a status such as 404.
        UnreadableImage: a web page, XML or JSON.
        ImageTooLarge: the content is over `max_bytes`.
        FetchFailed: the download took longer than `TIME_CAP_S`, the connection failed, or the status is 408, 425, 429
            or 5xx.
    """
    fetch = _Fetch(private_urls, max_bytes, time.monotonic() + TIME_CAP_S)
    outcome: Future[bytes] = Future()
    # On a thread of its own: a DNS lookup cannot be interrupted, and a socket timeout applies to each read.
    threading.Thread(target=_settle, args=(outcome, fetch, url), name="triptych-fetch", daemon=True).start()
    try:
        return outcome.result(TIME_CAP_S)
    except NoResult:
        raise FetchFailed(
            f"The photo at {shown_url(url)} did not arrive within {TIME_CAP_S:g} s. Try again later, or download it "
            "and pass its bytes."
        ) from None
    finally:
        fetch.abandon()


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address is of the public internet."""
    ip: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address.partition("%")[0])
    if ip in _NAT64:
        ip = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
    if ip.version == 6 and ip not in _GLOBAL_UNICAST:
        return False
    return not any(ip in network for network in _SPECIAL)


@dataclass(frozen=True)
class _Hop:
    """One URL of the download. `shown` has no query, because a query may contain a signature."""

    url: str
    shown: str
    secure: bool
    host: str
    port: int
    request_target: str


class _Fetch:
    """One download with its redirects. Any thread may abandon it, which ends the read."""

    def __init__(self, private_urls: bool, max_bytes: int, end_s: float) -> None:
        self._private_urls = private_urls
        self._max_bytes = max_bytes
        self._end_s = end_s
        self._socket: socket.socket | None = None
        self._abandoned = False

    def follow(self, url: str) -> bytes:
        hop = _parse(url)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                with contextlib.closing(self._connect(hop)) as connection:
                    connection.request(
                        "GET",
                        hop.request_target,
                        headers={"User-Agent": "triptych-client", "Accept": _ACCEPT, "Connection": "close"},
                    )
                    with connection.getresponse() as response:
                        location = response.headers.get("Location")
                        if response.status not in _REDIRECTS or location is None:
                            content = self._unpacked(self._read(response, hop), response, hop)
                            break
            except (OSError, http.client.HTTPException) as error:
                raise _failed(hop, error) from error
            hop = _parse(location, hop)
        else:
            raise InvalidInput(
                f"The URL {shown_url(url)} is redirected more than {MAX_REDIRECTS} times. Pass the photo's final URL."
            )
        named = shown_url(url) if hop.shown == shown_url(url) else f"{shown_url(url)}, redirected to {hop.shown},"
        refusal = refuse_page(content, hop.url, named, shown_url)
        if refusal is not None:
            raise refusal
        return content

    def abandon(self) -> None:
        self._abandoned = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _connect(self, hop: _Hop) -> http.client.HTTPConnection:
        addresses = self._permitted(hop)
        last: OSError = TimeoutError("timed out")
        for index, (family, kind, protocol, _, address) in enumerate(addresses):
            sock = socket.socket(family, kind, protocol)
            try:
                self._hold(sock, self._remaining_s() / (len(addresses) - index))
                sock.connect(address)
            except OSError as error:
                sock.close()
                last = error
            else:
                return self._dress(sock, hop)
        raise last

    def _permitted(self, hop: _Hop) -> list[Any]:
        try:
            addresses = socket.getaddrinfo(hop.host, hop.port, type=socket.SOCK_STREAM)
        except UnicodeError as error:
            raise InvalidInput(f"The URL {hop.shown} names no host ({error}). Check its spelling.") from error
        permitted = [entry for entry in addresses if self._private_urls or is_public(str(entry[4][0]))]
        if not permitted:
            raise InvalidInput(
                f"The URL {hop.shown} leads to {addresses[0][4][0]}, which is no public address, so it was not "
                "downloaded. Create the client with private_urls=True if the authors of the URLs may access your "
                "network, or download the photo and pass its bytes."
            )
        return permitted

    def _dress(self, sock: socket.socket, hop: _Hop) -> http.client.HTTPConnection:
        """HTTP over a connected socket, with TLS for https."""
        connection: http.client.HTTPConnection
        if hop.secure:
            context = _tls_context()
            connection = http.client.HTTPSConnection(hop.host, hop.port, context=context)
            wrapped = context.wrap_socket(sock, server_hostname=hop.host, do_handshake_on_connect=False)
            try:
                self._hold(wrapped, self._remaining_s())
                wrapped.do_handshake()
            except OSError:
                wrapped.close()
                raise
            sock = wrapped
        else:
            connection = http.client.HTTPConnection(hop.host, hop.port)
        sock.settimeout(self._remaining_s())
        connection.sock = sock
        connection.auto_open = 0  # otherwise it would resolve the name again
        return connection

    def _read(self, response: http.client.HTTPResponse, hop: _Hop) -> bytes:
        if not 200 <= response.status < 300:
            refusal = f"The host of {hop.shown} answered {response.status} {response.reason}; expected the photo."
            if response.status >= 500 or response.status in _PASSING:
                raise FetchFailed(f"{refusal} Try again later, or download it and pass its bytes.")
            raise InvalidInput(f"{refusal} Check the URL and who may read it.")
        announced_bytes = response.length or 0  # 0: not announced
        content = bytearray()
        while max(announced_bytes, len(content)) <= self._max_bytes:
            piece = response.read(65_536)
            if not piece:
                break
            content += piece
        else:
            raise self._too_large(hop)
        if len(content) < announced_bytes:
            raise http.client.IncompleteRead(bytes(content), announced_bytes - len(content))
        return bytes(content)

    def _unpacked(self, content: bytes, response: http.client.HTTPResponse, hop: _Hop) -> bytes:
        """The content without its Content-Encoding, which is not asked for; a photo that is not packed stays."""
        coding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if coding in ("", "identity") or format_of(content[:16]):
            return content
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise InvalidInput(f"The host of {hop.shown} sent the photo packed with {coding!r}, unasked. {_INSTEAD}")
        unpacking = zlib.decompressobj(_ANY_ZLIB)
        try:
            plain = unpacking.decompress(content, self._max_bytes + 1)
        except zlib.error as error:
            raise InvalidInput(
                f"The host of {hop.shown} sent the photo packed with {coding!r}, and damaged ({error}). {_INSTEAD}"
            ) from error
        if len(plain) > self._max_bytes:
            raise self._too_large(hop)
        if not unpacking.eof:
            raise http.client.IncompleteRead(plain)
        return plain

    def _too_large(self, hop: _Hop) -> ImageTooLarge:
        return ImageTooLarge(
            f"image too large: {hop.shown} gives more than {self._max_bytes / 1e6:g} MB, the limit. "
            "Send a smaller copy of the photo."
        )

    def _hold(self, sock: socket.socket, timeout_s: float) -> None:
        """Registers the socket, so that `abandon` ends a read or write on it."""
        sock.settimeout(timeout_s)
        self._socket = sock
        if self._abandoned:
            raise TimeoutError("timed out")

    def _remaining_s(self) -> float:
        return max(0.001, self._end_s - time.monotonic())


def _settle(outcome: Future[bytes], fetch: _Fetch, url: str) -> None:
    try:
        content = fetch.follow(url)
    except BaseException as error:
        outcome.set_exception(error)
    else:
        outcome.set_result(content)


@functools.cache
def _tls_context() -> ssl.SSLContext:
    return ssl.create_default_context()


def _parse(url: str, base: _Hop | None = None) -> _Hop:
    """Parses a URL; that of a redirect may be relative to `base`, and its text is bytes in Latin-1 (RFC 9110)."""
    try:
        joined = url if base is None else urljoin(base.url, url)
        parts = urlsplit(joined)
        port = parts.port
        host = parts.hostname or ""
        if not host.isascii():
            host = host.encode("idna").decode("ascii")
    except ValueError as error:
        raise InvalidInput(f"{shown_url(url)} cannot be a URL ({error}). Check its spelling.") from error
    shown = shown_url(joined)
    if parts.scheme not in ("http", "https") or not host:
        found = f"a redirect from {base.shown} to {shown}" if base else shown
        raise InvalidInput(f"Got {found}; expected a URL that starts with http:// or https:// and a host. {_INSTEAD}")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(f"The URL {shown} has a user name or password, which are not sent. {_INSTEAD}")
    encoding = "utf-8" if base is None else "latin-1"
    target = quote(parts.path or "/", safe=_UNQUOTED, encoding=encoding, errors="replace")
    if parts.query:
        target += "?" + quote(parts.query, safe=_UNQUOTED, encoding=encoding, errors="replace")
    secure = parts.scheme == "https"
    return _Hop(joined, shown, secure, host, port or (443 if secure else 80), target)


def _failed(hop: _Hop, error: OSError | http.client.HTTPException) -> InvalidInput:
    if isinstance(error, ssl.SSLCertVerificationError):
        return InvalidInput(
            f"The certificate of {hop.host} is not trusted ({error.verify_message}). Check the URL, or download the "
            "photo and pass its bytes."
        )
    unknown = {getattr(socket, name, None) for name in ("EAI_NONAME", "EAI_NODATA")}
    if isinstance(error, socket.gaierror) and error.errno in unknown:
        return InvalidInput(f"The URL {hop.shown} names a host that does not exist ({error.strerror}). Check the URL.")
    if isinstance(error, http.client.IncompleteRead):
        whole = "" if error.expected is None else f" of {len(error.partial) + error.expected}"
        reason = f"the connection ended after {len(error.partial)}{whole} bytes"
    else:
        reason = str(error) if isinstance(error, http.client.HTTPException) else error.strerror or str(error)
    return FetchFailed(
        f"The photo at {hop.shown} could not be fetched ({reason or type(error).__name__}). Try again later, or "
        "download it and pass its bytes."
    )


def shown_url(url: str) -> str:
    """The URL for a message: without user name, password and query, and shortened."""
    with contextlib.suppress(ValueError):
        parts: SplitResult = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        url = SplitResult(parts.scheme, host, parts.path, "", "").geturl()
    text = repr(url)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
