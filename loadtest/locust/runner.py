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
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from loadtest.errors import LoadTestError
from loadtest.files import ROOT
from loadtest.locust.run_result import RunResult, read_result
from loadtest.locust.shapes import Shape
from loadtest.traffic.calls import EMBED, RECOGNIZE, SEARCH, record_references
from loadtest.traffic.corpus import Corpus, TrafficMix
from loadtest.traffic.reference_answers import write_references
from triptych import Client

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
USERS = {"grpc": ("GrpcUser",), "http": ("HttpUser",), "both": ("GrpcUser", "HttpUser")}
TASKS = ("mixed", RECOGNIZE, EMBED, SEARCH)
# Users finish their calls in flight; else the server counts calls that we do not.
_STOP_TIMEOUT_S = 30
# For the start of Locust, and for its end with calls in flight.
_EXTRA_S = 90
_CATALOGUE_PHOTOS = 20


@dataclass(frozen=True)
class RunSettings:
    """Server and users of the runs.

    Attributes:
        target, http: addresses of gRPC and HTTP.
        under_s: latency bound of the objective.
        transport: a key of `USERS`.
        tasks: one of `TASKS`.
        workers: Locust processes beside a master; 0 runs one process in all.
    """

    target: str
    http: str
    under_s: float
    mix: TrafficMix
    seed: int
    transport: str = "both"
    tasks: str = "mixed"
    think_s: float = 0.0
    workers: int = 0


@contextlib.contextmanager
def prepare_run(
    settings: RunSettings,
    photos: Path,
    sizes_px: Mapping[tuple[int, int], int],
    catalogue_key: str | None,
    progress: Progress,
) -> Iterator[Path]:
    """Yields a temporary folder with the corpus and the server's reference answers.

    With a key, an empty catalogue is filled with photos of the corpus and emptied again at the end.

    Raises:
        LoadTestError: there are no photos.
        TriptychError: the server did not answer.
    """
    with tempfile.TemporaryDirectory(prefix="triptych_loadtest_") as name:
        folder = Path(name)
        task = progress.add_task("Preparing photos and reference answers", total=None)
        corpus = Corpus.make(photos, settings.seed, sizes_px=sizes_px)
        corpus.write(folder)
        with Client(settings.target, timeout_s=60, catalogue_key=catalogue_key) as client:
            added = _fill_catalogue(client, corpus) if catalogue_key else []
            try:
                kinds = [RECOGNIZE, EMBED, *([SEARCH] if _has_catalogue(client, corpus) else [])]
                write_references(record_references(client, corpus, kinds), folder / "references.npz")
                progress.remove_task(task)
                yield folder
            finally:
                if added:
                    client.catalogue.delete(added)


def run_shape(
    settings: RunSettings,
    shape: Shape,
    folder: Path,
    progress: Progress,
    *,
    scale: float,
    soak_s: float,
    soak_users: int = 1,
) -> RunResult:
    """One headless run in its own processes.

    Raises:
        LoadTestError: Locust failed or did not end.
    """
    result_file, log = folder / f"{shape.name}.json", folder / f"{shape.name}.log"
    result_file.unlink(missing_ok=True)
    words = [
        *_words(settings, folder), "--headless", "--only-summary", "--loglevel", "WARNING", "--scale", str(scale),
        "--soak-s", str(soak_s), "--soak-users", str(soak_users), "--result-file", str(result_file),
        "--exit-code-on-error", "0",
    ]  # fmt: skip
    environment = {**os.environ, "TRIPTYCH_LOAD_SHAPE": shape.name}
    with log.open("wb") as output, contextlib.ExitStack() as stack:
        if settings.workers:
            port = _free_port()
            master = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
            worker = ["--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
            for _ in range(settings.workers):
                stack.enter_context(_process([*_words(settings, folder), *worker], environment, output))
            words += [*master, "--expect-workers", str(settings.workers), "--expect-workers-max-wait", "60"]
        first = stack.enter_context(_process(words, environment, output))
        exit_code = _wait(first, shape, progress)
    if exit_code != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise LoadTestError(f"Locust ended with exit code {exit_code} in {shape.name}:\n{tail}")
    return read_result(result_file, settings.under_s)


def serve_web(settings: RunSettings, folder: Path, port: int) -> int:
    """Locust's web UI on loopback, until Ctrl-C; returns its exit code."""
    words = [*_words(settings, folder), "--web-host", "127.0.0.1", "--web-port", str(port)]
    with _process(words, dict(os.environ), None) as process:
        return process.wait()


def _words(settings: RunSettings, folder: Path) -> list[str]:
    mix = settings.mix
    tags = [] if settings.tasks == "mixed" else ["--tags", settings.tasks]
    return [
        sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *USERS[settings.transport], *tags,
        "--target", settings.target, "--http", settings.http, "--prepared", str(folder),
        "--think-s", str(settings.think_s), "--zipf", str(mix.zipf), "--repeat-share", str(mix.repeat_share),
        "--bad-share", str(mix.bad_share), "--seed", str(settings.seed), "--under-ms", str(settings.under_s * 1e3),
        "--stop-timeout", str(_STOP_TIMEOUT_S),
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
            process.wait(timeout=5 if process.poll() is None else 0)
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
