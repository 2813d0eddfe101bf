"""What an engineer writes in an afternoon: FastAPI + ONNX Runtime, one single-threaded process a core."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType

import uvicorn
from fastapi import FastAPI, Request, Response

from loadtest.ceiling import InProcess

START_TIMEOUT_S = 30.0
_REPOSITORY = "TRIPTYCH_YARDSTICK_REPOSITORY"


def make_app() -> FastAPI:
    """POST /recognize: an encoded photo in, scores and embedding out as raw float32."""
    in_process = InProcess(Path(os.environ[_REPOSITORY]), threads=1)
    app = FastAPI()

    @app.get("/ready")
    async def ready() -> Response:
        return Response()

    # In the event loop itself: a thread a request would only add switches, the process has one core to use.
    @app.post("/recognize")
    async def recognize(request: Request) -> Response:
        scores, embedding = in_process.recognize([await request.body()])
        return Response(scores.tobytes() + embedding.tobytes(), media_type="application/octet-stream")

    return app


def serve(port: int, processes: int) -> None:
    """Serves from `processes` processes that accept from one socket; ends with its process group."""
    # With `uvicorn --workers` the socket's protocol is left at 0, asyncio then leaves Nagle's algorithm on, and each
    # answer waits 40 ms for an acknowledgement.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    for _ in range(processes - 1):
        if os.fork() == 0:
            break
    uvicorn.Server(uvicorn.Config(make_app, factory=True, log_level="warning")).run(sockets=[listening])


class Yardstick:
    """The app under uvicorn on a free port of 127.0.0.1, for as long as the context lasts."""

    def __init__(self, repository: Path, processes: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.yardstick", str(port), str(processes)],
            cwd=Path(__file__).parents[1],
            env={**os.environ, _REPOSITORY: str(repository)},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the first process; the others are its children."""
        return self._process.pid

    def __enter__(self) -> Yardstick:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"http://{self.address}/ready", timeout=1)
                return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.__exit__(None, None, None)
        raise RuntimeError("The FastAPI yardstick did not start; run `make setup` and look at its output above.")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()


if __name__ == "__main__":
    serve(port=int(sys.argv[1]), processes=int(sys.argv[2]))
