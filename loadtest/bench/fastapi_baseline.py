"""The FastAPI baseline: FastAPI + ONNX Runtime, one single-threaded process per core."""

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

from loadtest.bench.in_process_baseline import InProcessRecognizer
from loadtest.errors import LoadTestError
from loadtest.files import ROOT

START_TIMEOUT_S = 30.0
_REPOSITORY = "TRIPTYCH_FASTAPI_BASELINE_REPOSITORY"


def make_app() -> FastAPI:
    """POST /recognize: takes an encoded photo, returns scores and embedding as raw float32."""
    recognizer = InProcessRecognizer(Path(os.environ[_REPOSITORY]), threads=1)
    app = FastAPI()

    @app.get("/ready")
    async def ready() -> Response:
        return Response()

    # Runs in the event loop: the process has one core, so a thread per request would only add context switches.
    @app.post("/recognize")
    async def recognize(request: Request) -> Response:
        scores, embedding = recognizer.recognize([await request.body()])
        return Response(scores.tobytes() + embedding.tobytes(), media_type="application/octet-stream")

    return app


def serve(port: int, processes: int) -> None:
    """Serves from `processes` processes that accept from one socket; ends with its process group."""
    # `uvicorn --workers` leaves the socket's protocol at 0. asyncio then leaves Nagle's algorithm on, and each answer
    # waits 40 ms for an acknowledgement.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    for _ in range(processes - 1):
        if os.fork() == 0:
            break
    uvicorn.Server(uvicorn.Config(make_app, factory=True, log_level="warning")).run(sockets=[listening])


class FastApiBaseline:
    """The app under uvicorn on a free port of 127.0.0.1; the context manager starts and ends it."""

    def __init__(self, repository: Path, processes: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.address = f"127.0.0.1:{port}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.bench.fastapi_baseline", str(port), str(processes)],
            cwd=ROOT,
            env={**os.environ, _REPOSITORY: str(repository)},
            start_new_session=True,
        )

    @property
    def pid(self) -> int:
        """Of the first process; the other processes are its children."""
        return self._process.pid

    def __enter__(self) -> FastApiBaseline:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                urllib.request.urlopen(f"http://{self.address}/ready", timeout=1)
                return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        self.__exit__(None, None, None)
        raise LoadTestError(
            f"The FastAPI baseline did not start within {START_TIMEOUT_S:g} s. Its output above has the cause; "
            "`make setup` installs its packages, `make build` places its weights."
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.killpg(self._process.pid, signal.SIGTERM)
        self._process.wait()


if __name__ == "__main__":
    serve(port=int(sys.argv[1]), processes=int(sys.argv[2]))
