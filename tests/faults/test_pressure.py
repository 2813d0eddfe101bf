"""What a server lives through when something around it is short or rude: a full disk, no shared memory, callers who
hang, who leave, releases that do not load. Eight callers beside it never pause, and each answer is compared.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest

from loadtest.open_loop.stream import EncodedRequests
from ops.server.reports.traffic import read_counts
from ops.settings import ADDRESS
from tests.faults.load import CALLERS, Golden, Load, loaded
from tests.faults.records import keep_load
from tests.faults.served import Served, can_mount, serving, wait_for
from triptych import Client, Overloaded, Retry, ServerFault

HERE = "tests/faults/test_pressure.py"
CALM_S = 1.0
HANGING = 16
OWN_CONNECTION = [("grpc.use_local_subchannel_pool", 1)]
LEAVING = 8
pytestmark = pytest.mark.alone
needs_mounts = pytest.mark.skipif(not can_mount(), reason="this user may not mount file systems (unshare --mount)")


@contextmanager
def full(folder: Path, room: int = 0) -> Iterator[None]:
    """While inside, its file system has no room, or only for so many bytes."""
    filler = folder / "filler"
    descriptor = os.open(filler, os.O_WRONLY | os.O_CREAT)
    for size in (1 << 20, 1 << 12):
        with contextlib.suppress(OSError):
            while os.write(descriptor, bytes(size)) == size:
                pass
    os.ftruncate(descriptor, os.fstat(descriptor).st_size - room)
    os.close(descriptor)
    assert shutil.disk_usage(folder).free < room + (1 << 12)
    try:
        yield
    finally:
        filler.unlink()


@contextmanager
def eight_callers(served: Served, contents: list[bytes]) -> Iterator[tuple[Load, Client]]:
    """Callers who never pause and never retry: all are answered before, and a second passes after."""
    key = served.folder.catalogue_key_file.read_text().strip()
    with (
        Client(served.target, retry=Retry(tries=1), timeout_s=60, catalogue_key=key) as client,
        loaded(client, Golden(client, contents)) as load,
    ):
        assert wait_for(lambda: len(load.took_s) > CALLERS)
        yield load, client
        ended_s = time.monotonic()
        assert wait_for(lambda: load.answered_after(ended_s + CALM_S) > CALLERS)


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for what changes nothing in it."""
    with serving(tmp_path_factory.mktemp("patient") / "state", "--cache-mb=0") as served:
        yield served


def check(fault: str, test: str, load: Load, since_s: float) -> None:
    keep_load(fault, 1, load, since_s, f"{HERE}::{test}")
    assert load.wrong == 0
    assert [str(failure.error) for failure in load.failures] == []


@needs_mounts
def test_full_disk_costs_writes_and_no_answer(tmp_path: Path, contents: list[bytes]) -> None:
    """State, log, answer cache and catalogue lie on one small disk."""
    state, since_s = tmp_path / "state", time.monotonic()
    with (
        serving(state, "--cache-mb=16", disks={state: "160m"}) as served,
        eight_callers(served, contents) as (load, client),
    ):
        client.catalogue.upsert("before", contents[0])
        assert found(client, contents[0]) == "before"
        with full(served.folder.folder):
            with pytest.raises(ServerFault, match="Nothing of this request was written") as refusal:
                upsert_many(client, contents[1])  # SQLite has room of its own for some rows
            assert refusal.value.code == "catalogue_unusable"
            assert found(client, contents[0]) == "before"
            time.sleep(CALM_S)
        client.catalogue.upsert("after", contents[2])
        assert found(client, contents[2]) == "after"
    check("disk full", "test_full_disk_costs_writes_and_no_answer", load, since_s)


@needs_mounts
def test_searches_go_on_without_what_a_full_disk_has_no_room_for(tmp_path: Path, contents: list[bytes]) -> None:
    """`index` makes its file at the first search behind the first write."""
    state = tmp_path / "state"
    with serving(state, "--cache-mb=0", disks={state: "160m"}) as served:
        key = served.folder.catalogue_key_file.read_text().strip()
        with Client(served.target, retry=Retry(tries=1), catalogue_key=key) as client:
            with full(served.folder.folder, room=100_000):
                client.catalogue.upsert("written", contents[0])
                assert client.catalogue.get("written") is not None
                assert found(client, contents[0]) is None
            assert wait_for(lambda: found(client, contents[0]) == "written", 10.0)


def upsert_many(client: Client, photo: bytes) -> None:
    for number in range(400):
        client.catalogue.upsert(f"during-{number}", photo, fields={"text": "x" * 2000})


def found(client: Client, photo: bytes) -> str | None:
    top = client.search(photo, k=1).top
    return None if top is None else top.product_id


@needs_mounts
def test_full_shared_memory_costs_large_requests_and_who_shares_their_run(
    tmp_path: Path, contents: list[bytes]
) -> None:
    """Two photos are in a run: the other is told to try again, as the large one is, and all others are answered."""
    since_s = time.monotonic()
    # A photo whose file does not fit into what the models have: each begins with 1 MB.
    large = contents[0] + bytes(15_000_000)
    with (
        serving(tmp_path / "state", "--cache-mb=0", disks={Path("/dev/shm"): "64m"}) as served,
        eight_callers(served, contents) as (load, client),
    ):
        with full(served.inside(Path("/dev/shm"))):
            for _ in range(3):
                with pytest.raises(Overloaded, match="shared memory is full") as refused:
                    client.embed(large)
                assert refused.value.retryable
            time.sleep(CALM_S)
        assert client.embed(large).vector @ client.embed(contents[0]).vector > 1 - 1e-4
    test = "test_full_shared_memory_costs_large_requests_and_who_shares_their_run"
    keep_load("/dev/shm full", 1, load, since_s, f"{HERE}::{test}")
    assert load.wrong == 0
    assert len(load.failures) <= 3
    for failure in load.failures:
        assert isinstance(failure.error, Overloaded)
        assert failure.error.retryable
        assert "shared memory is full" in str(failure.error)


@contextmanager
def half_sent_bodies(port: int, count: int) -> Iterator[None]:
    """HTTP requests whose body never ends."""
    with ExitStack() as stack:
        for _ in range(count):
            caller = stack.enter_context(socket.create_connection((ADDRESS, port), timeout=10))
            caller.sendall(
                b"POST /v2/models/recognizer/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
                b"Inference-Header-Content-Length: 0\r\n\r\n" + bytes(50_000)
            )
        for _ in range(count):  # and such as stop in the middle of a header
            caller = stack.enter_context(socket.create_connection((ADDRESS, port), timeout=10))
            caller.sendall(b"POST /v2/models/recognizer/infer HT")
        yield


@contextmanager
def open_streams(target: str, count: int) -> Iterator[None]:
    """GRPC streams on which nothing is ever sent, and connections that say nothing at all."""
    host, _, port = target.partition(":")
    with ExitStack() as stack:
        for _ in range(count):
            channel = stack.enter_context(grpc.insecure_channel(target, options=OWN_CONNECTION))
            call = channel.stream_stream("/inference.GRPCInferenceService/ModelStreamInfer")
            is_over = stack.enter_context(ended())
            call(iter(is_over.wait, True))
            stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
        yield


@contextmanager
def ended() -> Iterator[threading.Event]:
    """An event that is set at the end."""
    event = threading.Event()
    try:
        yield event
    finally:
        event.set()


def test_callers_who_hang_delay_nobody(patient: Served, contents: list[bytes]) -> None:
    since_s = time.monotonic()
    with eight_callers(patient, contents) as (load, _):
        calm = len(load.took_s)
        with half_sent_bodies(patient.state.ports.http, HANGING), open_streams(patient.target, HANGING):
            time.sleep(3 * CALM_S)
            # Also over the protocol they hang on.
            with Client(patient.state.ports.http_url, transport="http", retry=Retry(tries=1), timeout_s=60) as other:
                for photo in contents:
                    other.embed(photo)
        assert len(load.took_s) > calm
    check(f"{4 * HANGING} callers who hang", "test_callers_who_hang_delay_nobody", load, since_s)


def test_callers_who_leave_cost_the_others_nothing(patient: Served, contents: list[bytes]) -> None:
    """Each sends a photo and cancels the call at once, while it waits, or while it is at work."""
    since_s, cancelled, is_over = time.monotonic(), Counter[str](), threading.Event()
    body = EncodedRequests(contents)

    def leave(number: int) -> None:
        chance = random.Random(number)
        with grpc.insecure_channel(patient.target, options=OWN_CONNECTION) as channel:
            call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
            while not is_over.is_set():
                answer = call.future(body.next_body(number), timeout=60)
                time.sleep(chance.uniform(0, 0.1))
                answer.cancel()
                cancelled[answer.code().name] += 1

    with eight_callers(patient, contents) as (load, _), ThreadPoolExecutor(LEAVING) as pool:
        leaving = [pool.submit(leave, number) for number in range(LEAVING)]
        time.sleep(5 * CALM_S)
        is_over.set()
        for each in leaving:
            each.result()
    assert cancelled["CANCELLED"] > 10 * LEAVING, cancelled
    assert wait_for(lambda: pending(patient) == 0, 10.0), "a request that nobody waits for is still there"
    check(f"{LEAVING} callers who cancel", "test_callers_who_leave_cost_the_others_nothing", load, since_s)


def pending(served: Served) -> int | None:
    counts = read_counts(served.state.ports.metrics)
    return int(sum(each.waiting for each in counts.values())) if counts else None
