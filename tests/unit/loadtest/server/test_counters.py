"""Request counts from metrics in Triton's format."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

from loadtest.server.counters import count_requests

PAGE = """\
nv_inference_request_success{{model="searcher",version="1"}} {answered}
nv_inference_request_failure{{model="searcher",reason="OTHER",version="1"}} 4
nv_inference_request_failure{{model="searcher",reason="REJECTED",version="1"}} 3
"""


@contextmanager
def pages(*answered: int) -> Iterator[str]:
    """A server that returns one page after another, and then the last one without end."""
    left = list(answered)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(PAGE.format(answered=left.pop(0) if len(left) > 1 else left[0]).encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/metrics"
        server.shutdown()


def test_failure_of_an_ensemble_is_one_request() -> None:
    with pages(10) as url:
        assert count_requests(url) == {"searcher": 10 + 4 // 2 + 3}


def test_count_waits_for_requests_that_are_counted_after_their_answer() -> None:
    with pages(10, 11, 12) as url:
        assert count_requests(url)["searcher"] == 12 + 5
