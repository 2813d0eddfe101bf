"""Runs Locust in its own processes, because importing Locust patches the standard library."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from rich.progress import Progress

from loadtest.errors import LoadTestError
from loadtest.files import ROOT
from loadtest.locust.run_result import RunResult, read_result
from loadtest.locust.settings import RunSettings
from loadtest.locust.shapes import Shape
from loadtest.traffic.calls import EMBED, RECOGNIZE, SEARCH, record_references
from loadtest.traffic.corpus import Corpus
from loadtest.traffic.reference_answers import write_prepared
from triptych import Client

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
PREPARED = "prepared.json"
USERS = {"grpc": ("GrpcUser",), "http": ("HttpUser",), "both": ("GrpcUser", "HttpUser")}
TASKS = ("mixed", RECOGNIZE, EMBED, SEARCH)
# Users finish their calls in flight; else the server counts calls that we do not.
_STOP_TIMEOUT_S = 30
# For the start of Locust, and for its end with calls in flight.
_EXTRA_S = 90
_CATALOGUE_PHOTOS = 20


@contextlib.contextmanager
def prepare_run(
    settings: RunSettings,
    photos: Path,
    sizes_px: Mapping[tuple[int, int], int],
    catalogue_key: str | None,
    progress: Progress,
) -> Iterator[Path]:
    """Yields a temporary folder with the corpus and the server's reference answers in the file `PREPARED`.

    With a key, an empty catalogue is filled with photos of the corpus and emptied again at the end.

    Raises:
        LoadTestError: there are no photos.
        TriptychError: the server did not answer.
    """
    with tempfile.TemporaryDirectory(prefix="triptych_loadtest_") as name:
        folder = Path(name)
        task = progress.add_task("Preparing photos and reference answers", total=None)
        corpus = Corpus.make(photos, settings.seed, sizes_px=sizes_px)
        with Client(settings.target, timeout_s=60, catalogue_key=catalogue_key, source="internal") as client:
            added = _fill_catalogue(client, corpus) if catalogue_key else []
            try:
                kinds = [RECOGNIZE, EMBED, *([SEARCH] if _has_catalogue(client, corpus) else [])]
                write_prepared(folder / PREPARED, corpus, record_references(client, corpus, kinds))
                progress.remove_task(task)
                yield folder
            finally:
                if added:
                    client.catalogue.delete(added)


def run_shape(
    settings: RunSettings, users: list[str], name: str, folder: Path, workers: int, progress: Progress
) -> RunResult:
    """One headless run in its own processes: one, or a master and `workers`.

    `users` are words of `select_users`, `folder` is of `prepare_run`.

    Raises:
        LoadTestError: Locust failed or did not end.
    """
    shape = settings.make_shape(name)
    result_file, log = folder / f"{name}.json", folder / f"{name}.log"
    result_file.unlink(missing_ok=True)
    common = _words(settings, users, folder)
    words = [
        *common, "--headless", "--only-summary", "--loglevel", "WARNING", "--result-file", str(result_file),
        "--exit-code-on-error", "0",
    ]  # fmt: skip
    environment = {**os.environ, "TRIPTYCH_LOAD_SHAPE": name}
    with log.open("wb") as output, contextlib.ExitStack() as stack:
        if workers:
            port = str(_free_port())
            worker = [*common, "--worker", "--master-host", "127.0.0.1", "--master-port", port]
            for _ in range(workers):
                stack.enter_context(_process(worker, environment, output))
            words += ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port]
            words += ["--expect-workers", str(workers), "--expect-workers-max-wait", "60"]
        exit_code = _wait(stack.enter_context(_process(words, environment, output)), shape, progress)
    if exit_code != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise LoadTestError(f"Locust ended with exit code {exit_code} in {name}:\n{tail}")
    return read_result(result_file, shape, settings.under_ms / 1e3)


def serve_web(settings: RunSettings, users: list[str], folder: Path, port: int) -> int:
    """Locust's web UI on loopback, until Ctrl-C; returns its exit code."""
    words = [*_words(settings, users, folder), "--web-host", "127.0.0.1", "--web-port", str(port)]
    with _process(words, dict(os.environ), None) as process:
        return process.wait()


def select_users(transport: str, tasks: str) -> list[str]:
    """Locust's arguments for a key of `USERS` and one of `TASKS`."""
    return [*USERS[transport], *([] if tasks == "mixed" else ["--tags", tasks])]


def _words(settings: RunSettings, users: list[str], folder: Path) -> list[str]:
    return [
        sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *users, *settings.as_words(),
        "--prepared", str(folder / PREPARED), "--stop-timeout", str(_STOP_TIMEOUT_S),
    ]  # fmt: skip


def _wait(process: subprocess.Popen[bytes], shape: Shape, progress: Progress) -> int:
    task = progress.add_task(f"{shape.name}: {shape.description}", total=shape.duration_s)
    started_s = time.monotonic()
    while (exit_code := process.poll()) is None:
        run_s = time.monotonic() - started_s
        if run_s > shape.duration_s + _EXTRA_S:
            raise LoadTestError(
                f"{shape.name} still runs after {run_s:.0f} s, expected its end after {shape.duration_s:.0f} s."
            )
        progress.update(task, completed=min(run_s, shape.duration_s))
        time.sleep(0.2)
    progress.remove_task(task)
    return exit_code


@contextlib.contextmanager
def _process(words: list[str], environment: dict[str, str], output: object) -> Iterator[subprocess.Popen[bytes]]:
    """Ends the process with the block, by its pid."""
    stderr = subprocess.STDOUT if output else None
    # In the checkout, where `python -m locust` finds the package `loadtest`.
    process = subprocess.Popen(words, cwd=ROOT, env=environment, stdout=output, stderr=stderr)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(timeout=_STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _fill_catalogue(client: Client, corpus: Corpus) -> list[str]:
    """Product ids of the photos that were added; empty where the catalogue had photos."""
    if client.catalogue.count().photos:
        return []
    keys = list(corpus.photos)[:_CATALOGUE_PHOTOS]
    for key in keys:
        client.catalogue.upsert(f"loadtest-{key}", corpus.photos[key])
    return [f"loadtest-{key}" for key in keys]


def _has_catalogue(client: Client, corpus: Corpus) -> bool:
    return client.search(next(iter(corpus.photos.values())), k=1).top is not None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])
