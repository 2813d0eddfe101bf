"""A host on the loopback address that gives photos well and badly."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from triptych._images.download import fetch_photo

PHOTO = b"\xff\xd8\xff\xe0 photo \x80\x00\x00" * 10_000
MAX_BYTES = 1_000_000


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
