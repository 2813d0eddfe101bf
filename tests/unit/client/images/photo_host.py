"""A host on the loopback address that gives photos well and badly."""

from __future__ import annotations

import gzip
import http.server
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from triptych._images.download import fetch_photo

PHOTO = b"\xff\xd8\xff\xe0 photo \x80\x00\x00" * 10_000
MAX_BYTES = 1_000_000
BOMB = gzip.compress(bytes(50_000_000))
_PAGE = "<!DOCTYPE html><html><head><title>Red\n shoe &amp; box</title>{}</head><body><p>59 EUR</p></body></html>"
TEXTS = {
    "page": _PAGE.format(""),
    "product": _PAGE.format('<meta property="og:image" content="/img/red.jpg?sig=secret">'),
    "twitter": _PAGE.format("<meta name='twitter:image' content='https://cdn.shop.example/red.jpg'>"),
    "xhtml": '<?xml version="1.0"?>\n<!-- x --><html xmlns="http://www.w3.org/1999/xhtml"><body/></html>',
    "fragment": "\ufeff \n<p>Sorry</p>",
    "damaged": "<html><head><title>Red</title><meta property=og:image content=red.jpg <<<" + "x" * 1000,
    "form": _PAGE.format("") + '<form><input type="password" name="p"></form>',
    "sign-in": _PAGE.format(""),
    "xml": '<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>',
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><circle r="5"/></svg>',
    "json": '{"error": "no such product"}',
    "json-nested": '{"error": {"code": 7, "message": "no such product"}}',
    "json-list": "[1, 2, 3]",
}


@dataclass
class Host:
    """A photo host on a free port of the loopback address; keeps the requests it got."""

    port: int
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"


class Handler(http.server.BaseHTTPRequestHandler):
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

    def give_coded(self, coding: str) -> None:
        """The photo in a Content-Encoding, or as it is with the name of one that is none."""
        packed = {"gzip": gzip.compress(PHOTO), "x-gzip": gzip.compress(PHOTO), "deflate": zlib.compress(PHOTO)}
        self._give(packed.get(coding, PHOTO), 200, {"Content-Encoding": coding})

    def give_cut(self, coding: str) -> None:
        self._give(gzip.compress(PHOTO)[:-20], 200, {"Content-Encoding": coding})

    def give_bomb(self, _: str) -> None:
        self._give(BOMB, 200, {"Content-Encoding": "gzip"})

    def give_text(self, name: str) -> None:
        self._give(TEXTS[name.partition("?")[0]].encode(), 200, {"Content-Type": "image/jpeg"})

    def give_login(self, _: str) -> None:
        self._give(b"", 302, {"Location": "/text/sign-in?next=secret"})

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


def serve(server: http.server.ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fetch(url: str, max_bytes: int = MAX_BYTES) -> bytes:
    return fetch_photo(url, private_urls=True, max_bytes=max_bytes)
