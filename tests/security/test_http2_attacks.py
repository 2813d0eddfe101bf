"""What a caller does with streams of HTTP/2 costs the others no answer: calls taken back, answers that nobody reads."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from ops.front.limits import MIB, Limits
from ops.front.settings import Address, Addresses, Front
from ops.server.front_process import FrontProcess
from ops.server.local_server import LocalServer
from ops.server.ports import choose_ports
from ops.settings import ADDRESS, Settings
from tests.faults.load import Golden, loaded
from tests.faults.records import AttackRow, keep
from tests.security.beside import SETTLED_S, Stage, memory_mb, p99
from tests.security.http2 import Http2
from tests.security.searches import Caller, message, packed, texts
from triptych import Client, Retry

HERE = "tests/security/test_http2_attacks.py"
MODEL_INFER = "/inference.GRPCInferenceService/ModelInfer"
CALLERS, UNHURRIED = 4, 2
RESET_S = 6.0
CONNECTIONS, CALLS = 20, 2_000
# A front of its own meets the limit with some hundred unread answers of 0.3 MB each.
HEAP_BYTES = 256 * MIB
UNREAD_CONNECTIONS, UNREAD_CALLS = 20, 100
PAUSE_S, CALM_S, HELD_S = 0.05, 4.0, 5.0
# Of the front after a start; its allocator gives what is free back to the machine within minutes.
ALLOCATED_MB = 32.0


@contextlib.contextmanager
def serving(photos: list[Path], cache_mb: int | None) -> Iterator[tuple[LocalServer, Golden]]:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0)
    if cache_mb is not None:
        settings = dataclasses.replace(settings, cache_mb=cache_mb)
    with LocalServer(settings) as server, Client(server.grpc_target) as client:
        yield server, Golden(client, [photo.read_bytes() for photo in photos[:4]])


def take_back(server: LocalServer, until_s: float) -> int:
    """Sends calls and takes each back at once, on one connection after the other; returns how many."""
    call, sent = message("recognizer", [texts("image", b"x")]).SerializeToString(), 0
    while time.monotonic() < until_s:
        connection = Http2(server.ports.grpc)
        for _ in range(CALLS):
            if not connection.call(MODEL_INFER, call, is_taken_back=True):
                break
            sent += 1
        connection.close()
    return sent


def test_calls_taken_back_at_once(photos: list[Path]) -> None:
    """Each costs a frame on the connection to the server that all callers share."""
    sent: list[int] = []
    with (
        serving(photos, cache_mb=0) as (attacked, golden),
        Stage(attacked, golden).attack("calls taken back at once", f"{HERE}::test_calls_taken_back") as seen,
        Client(attacked.grpc_target, retry=Retry(tries=1)) as client,
        loaded(client, golden, CALLERS) as load,
    ):
        until_s = time.monotonic() + RESET_S
        threads = [
            threading.Thread(target=lambda: sent.append(take_back(attacked, until_s))) for _ in range(CONNECTIONS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seen.answer = f"{sum(sent)} calls on {CONNECTIONS} connections"
    assert sum(sent) > 10 * CONNECTIONS
    assert (load.failures, load.wrong) == ([], 0)
    assert load.took_s


@contextlib.contextmanager
def small_front(server: LocalServer, folder: Path) -> Iterator[tuple[Addresses, int]]:
    """A second front before the server, with less memory; its addresses and its pid."""
    inner = Addresses(*(Address(ADDRESS, getattr(server.inner_ports, name)) for name in ("http", "grpc", "metrics")))
    ports = choose_ports(0, 0, 0)
    listens = Addresses(*(Address(ADDRESS, getattr(ports, name)) for name in ("http", "grpc", "metrics")))
    front = FrontProcess(folder)
    key = server.front_key.partition("=")[2]
    front.start(Front(listens, inner, "front.sock", key=key, limits=Limits(heap_bytes=HEAP_BYTES)))
    try:
        identity = front.identity
        assert identity is not None
        yield listens, identity.pid
    finally:
        front.stop()


def allocated_mb(listens: Addresses) -> float:
    with urllib.request.urlopen(f"http://{ADDRESS}:{listens.metrics.port}/metrics/front") as page:
        (line,) = [line for line in page.read().decode().splitlines() if line.startswith("envoy_server_memory_alloc")]
    return float(line.rpartition(" ")[2]) / 1e6


def leave_unread(port: int, held: contextlib.ExitStack) -> None:
    """Asks for 0.3 MB with each call of some kB, and opens no window for the answers."""
    drawn = io.BytesIO()
    Image.new("RGB", (64, 64), (200, 30, 30)).save(drawn, "JPEG")
    call = message("recognizer", [("image", "BYTES", (8, 1), packed(*[drawn.getvalue()] * 8))])
    call.outputs.add(name="category_scores").parameters["classification"].int64_param = 1000
    assert Caller(f"{ADDRESS}:{port}").ask(call) == ("OK", "")
    for _ in range(UNREAD_CONNECTIONS):
        connection = Http2(port, initial_window=0)
        held.callback(connection.close)
        for number in range(UNREAD_CALLS):
            connection.call(MODEL_INFER, call.SerializeToString())
            if number % 10 == 9:
                time.sleep(PAUSE_S)  # the queue of photos is for others, too


def test_answers_that_nobody_reads(photos: list[Path], tmp_path: Path) -> None:
    """They would fill the heap of the front several times; it ends them, and serves the others from what they held."""
    with (
        serving(photos, cache_mb=None) as (attacked, golden),
        small_front(attacked, tmp_path) as (listens, pid),
        Client(f"{ADDRESS}:{listens.grpc.port}", retry=Retry(tries=1)) as client,
    ):
        with loaded(client, golden, UNHURRIED, PAUSE_S) as calm:
            time.sleep(CALM_S)
        before_mb = memory_mb([pid])
        with loaded(client, golden, UNHURRIED, PAUSE_S) as load, contextlib.ExitStack() as held:
            leave_unread(listens.grpc.port, held)
            most_mb = memory_mb([pid]) - before_mb
            time.sleep(HELD_S)
        ended_s = time.monotonic()
        while allocated_mb(listens) > ALLOCATED_MB and time.monotonic() < ended_s + SETTLED_S:
            time.sleep(0.2)
        allocated, kept_mb = allocated_mb(listens), memory_mb([pid]) - before_mb
    calm_s, met_s = (p99([took_s for _, took_s in seen.took_s]) for seen in (calm, load))
    answer = f"{UNREAD_CONNECTIONS * UNREAD_CALLS} answers of 0.3 MB are not sent"
    test = f"{HERE}::test_answers_that_nobody_reads"
    keep(
        AttackRow(
            "answers that nobody reads", answer, round(most_mb), round(kept_mb), calm_s, met_s, len(load.failures), test
        )
    )
    assert (load.failures, load.wrong) == ([], 0)
    assert load.answered_after(ended_s - HELD_S) > UNHURRIED
    assert most_mb * 1e6 < HEAP_BYTES
    assert allocated < ALLOCATED_MB
