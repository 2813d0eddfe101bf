"""Runs Locust in processes of its own, since it patches the whole of the one it is imported into."""

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

from loadtest.corpus import Corpus, Mix
from loadtest.errors import LoadTestError
from loadtest.golden import write_golden
from loadtest.options import ROOT
from loadtest.run_outcome import RunOutcome, read_outcome
from loadtest.shapes import Shape
from loadtest.traffic import EMBED, RECOGNIZE, SEARCH, answer_alone
from triptych import Client

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
USERS = {"grpc": ("GrpcUser",), "http": ("HttpUser",), "both": ("GrpcUser", "HttpUser")}
TASKS = ("mixed", RECOGNIZE, EMBED, SEARCH)
# Users finish the call they are in, or the server counts what we do not.
_STOP_TIMEOUT_S = 30
# Locust's start, and its end with calls in flight.
_AROUND_S = 90
_CATALOGUE_PHOTOS = 20


@dataclass(frozen=True)
class Field:
    """Where and how the runs take place.

    Attributes:
        target, http: addresses of gRPC and HTTP.
        under_s: the objective's bound on an answer.
        users: a key of `USERS`.
        tasks: one of `TASKS`.
        workers: Locust processes beside a master; 0: one process in all.
    """

    target: str
    http: str
    under_s: float
    mix: Mix
    seed: int
    users: str = "both"
    tasks: str = "mixed"
    think_s: float = 0.0
    workers: int = 0


@contextlib.contextmanager
def prepare(
    field: Field,
    photos: Path,
    sizes_px: Mapping[tuple[int, int], int],
    catalogue_key: str | None,
    progress: Progress,
) -> Iterator[Path]:
    """A folder with the corpus and what the server answers to each of its photos alone; it goes when it is left.

    An empty catalogue is given some of the photos where there is a key for it, and emptied again.

    Raises:
        LoadTestError: there are no photos.
        TriptychError: the server did not answer.
    """
    with tempfile.TemporaryDirectory(prefix="triptych_loadtest_") as name:
        folder = Path(name)
        task = progress.add_task("Photos, and their answers without load", total=None)
        corpus = Corpus.make(photos, field.seed, sizes_px=sizes_px)
        corpus.write(folder)
        with Client(field.target, timeout_s=60, catalogue_key=catalogue_key) as client:
            ours = _fill_catalogue(client, corpus) if catalogue_key else []
            try:
                kinds = [RECOGNIZE, EMBED, *([SEARCH] if _has_catalogue(client, corpus) else [])]
                write_golden(answer_alone(client, corpus, kinds), folder / "golden.npz")
                progress.remove_task(task)
                yield folder
            finally:
                if ours:
                    client.catalogue.delete(ours)


def run_shape(
    field: Field, shape: Shape, folder: Path, progress: Progress, *, scale: float, soak_s: float, soak_users: int = 1
) -> RunOutcome:
    """One headless run in processes of its own.

    Raises:
        LoadTestError: Locust failed, or did not end.
    """
    outcome = folder / f"{shape.name}.json"
    outcome.unlink(missing_ok=True)
    words = [
        *_words(field, folder), "--headless", "--only-summary", "--loglevel", "WARNING", "--scale", str(scale),
        "--soak-s", str(soak_s), "--soak-users", str(soak_users), "--outcome", str(outcome),
        "--exit-code-on-error", "0",
    ]  # fmt: skip
    environment = {**os.environ, "TRIPTYCH_LOAD_SHAPE": shape.name}
    log = folder / f"{shape.name}.log"
    with log.open("wb") as output, contextlib.ExitStack() as stack:
        if field.workers:
            port = _free_port()
            master = ["--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", str(port)]
            worker = ["--worker", "--master-host", "127.0.0.1", "--master-port", str(port)]
            for _ in range(field.workers):
                stack.enter_context(_process([*_words(field, folder), *worker], environment, output))
            words += [*master, "--expect-workers", str(field.workers), "--expect-workers-max-wait", "60"]
        first = stack.enter_context(_process(words, environment, output))
        exit_code = _await(first, shape, progress)
    if exit_code != 0:
        tail = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:])
        raise LoadTestError(f"Locust ended with {exit_code} in {shape.name}:\n{tail}")
    return read_outcome(outcome, field.under_s)


def serve_web(field: Field, folder: Path, port: int) -> int:
    """Locust's own page on loopback, for runs by hand; until Ctrl-C. Returns its exit code."""
    words = [*_words(field, folder), "--web-host", "127.0.0.1", "--web-port", str(port)]
    with _process(words, dict(os.environ), None) as process:
        return process.wait()


def _words(field: Field, folder: Path) -> list[str]:
    mix = field.mix
    tags = [] if field.tasks == "mixed" else ["--tags", field.tasks]
    return [
        sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), *USERS[field.users], *tags,
        "--target", field.target, "--http", field.http, "--prepared", str(folder), "--think-s", str(field.think_s),
        "--zipf", str(mix.zipf), "--repeat-share", str(mix.repeat_share), "--bad-share", str(mix.bad_share),
        "--seed", str(field.seed), "--under-ms", str(field.under_s * 1e3), "--stop-timeout", str(_STOP_TIMEOUT_S),
    ]  # fmt: skip


def _await(process: subprocess.Popen[bytes], shape: Shape, progress: Progress) -> int:
    task = progress.add_task(f"{shape.name}: {shape.what}", total=shape.duration_s)
    started_s = time.monotonic()
    while (exit_code := process.poll()) is None:
        run_s = time.monotonic() - started_s
        if run_s > shape.duration_s + _AROUND_S:
            raise LoadTestError(
                f"{shape.name} should have ended after {shape.duration_s:.0f} s and runs since {run_s:.0f} s."
            )
        progress.update(task, completed=min(run_s, shape.duration_s))
        time.sleep(0.2)
    progress.remove_task(task)
    return exit_code


@contextlib.contextmanager
def _process(words: list[str], environment: dict[str, str], output: object) -> Iterator[subprocess.Popen[bytes]]:
    """Ends it with the block, by its own pid, whatever happened."""
    stderr = subprocess.STDOUT if output else None
    # In the checkout, where `python -m locust` finds the package that its file is of.
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
