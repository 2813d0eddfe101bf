"""The FastAPI baseline: FastAPI + ONNX Runtime, one single-threaded process per core."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

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


@contextmanager
def run_fastapi(repository: Path, processes: int) -> Iterator[tuple[str, int]]:
    """Runs the app under uvicorn; yields its address and the pid of the first process, whose children are the others.

    Raises:
        LoadTestError: the app did not start.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtest.bench.fastapi_baseline", str(port), str(processes)],
        cwd=ROOT,
        env={**os.environ, _REPOSITORY: str(repository)},
        start_new_session=True,
    )
    try:
        _wait_until_ready(process, port)
        yield f"127.0.0.1:{port}", process.pid
    finally:
        with suppress(ProcessLookupError):  # it ended by itself
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1)
            return
        except OSError:
            time.sleep(0.1)
    raise LoadTestError(
        f"The FastAPI baseline did not start within {START_TIMEOUT_S:g} s. Its output above has the cause; "
        "`make setup` installs its packages, `make build` places its weights."
    )


if __name__ == "__main__":
    serve(port=int(sys.argv[1]), processes=int(sys.argv[2]))
