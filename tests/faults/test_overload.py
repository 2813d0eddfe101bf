"""Too much to do: shoppers beside a bulk job, and ten times what the server can answer.

What is asserted holds on a machine that does other things too: who is served first, that nothing is computed in vain,
that refusals are typed. `triptych loadtest overload` has the bounds, for a machine that does nothing else.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from export.profiles.adjustments import QUEUE_SIZE_PER_CORE
from export.profiles.cpu import size_for
from export.profiles.rendering import render_profiles
from export.repository.configs import read_configs
from loadtest.open_loop.overload import OVERLOAD
from loadtest.open_loop.stream import EncodedRequests, StreamResult, fetch_references, run_closed_loop, run_open_loop
from loadtest.server.process import peak_memory
from ops.server.local_server import LocalServer
from ops.settings import REPOSITORY, Settings
from tests.faults.records import FaultRow, keep
from tests.faults.served import wait_for
from triptych import Client

HERE = "tests/faults/test_overload.py"
TURN_S = 5.0
PATIENCE_S = 90.0
# A queue of these photos is 6 MB; the rest is what Triton's allocator keeps.
MEMORY_MB = 300.0
BULK_WAITING = 48
pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def one_core(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """The cpu profile as a machine of one core gets it, without the cache: the callers have the other."""
    repository = tmp_path_factory.mktemp("one_core") / "repository"
    shutil.copytree(REPOSITORY, repository)
    for name, text in render_profiles(read_configs(REPOSITORY), size_for(1), ["cpu"]).items():
        (repository / name).write_text(text)
    with LocalServer(Settings(repository, http_port=0, grpc_port=0, metrics_port=0, cache_mb=0)) as server:
        yield server


def computed(client: Client) -> int:
    return next(model.inferences for model in client.statistics() if model.name == "recognizer")


@pytest.mark.timeout(180)
def test_interactive_photo_waits_for_no_more_than_what_is_at_work_when_bulk_is_queued(
    one_core: LocalServer, contents: list[bytes]
) -> None:
    numbers = itertools.count()
    answered_s: list[float] = []
    with (
        Client(one_core.grpc_target, timeout_s=PATIENCE_S) as shopper,
        Client(one_core.grpc_target, timeout_s=PATIENCE_S, priority="bulk") as job,
        ThreadPoolExecutor(BULK_WAITING) as pool,
    ):

        def embed(_: int) -> None:
            job.embed(contents[0] + next(numbers).to_bytes(8, "big"))
            answered_s.append(time.monotonic())

        shopper.embed(contents[0])
        job.embed(contents[0])
        waiting = [pool.submit(embed, number) for number in range(BULK_WAITING)]
        assert wait_for(lambda: len(answered_s) >= 4)
        passed = []
        while not all(each.done() for each in waiting[:-8]):
            asked_s = time.monotonic()
            shopper.embed(contents[1] + next(numbers).to_bytes(8, "big"))
            passed.append(sum(asked_s < at_s < time.monotonic() for at_s in answered_s))
        for each in waiting:
            each.result()
    assert passed, "bulk was answered before anybody asked"
    # One photo is at work and its answer counts; now and then one more is taken before the request has been read.
    assert sum(passed) / len(passed) <= 3, passed


@pytest.fixture(scope="module")
def flood(one_core: LocalServer, photos: list[Path]) -> Iterator[tuple[StreamResult, StreamResult, int, float]]:
    """What the callers saw at capacity and beyond, how many photos were computed meanwhile, and MB the server grew."""
    requests = EncodedRequests([photo.read_bytes() for photo in photos[:8]])
    references = fetch_references(one_core.grpc_target, requests)
    with Client(one_core.grpc_target) as client:
        full = run_closed_loop(one_core.grpc_target, requests, references, concurrency=8, duration_s=TURN_S)
        before = computed(client)
        with peak_memory(one_core.pid) as grown_mb:
            seen = run_open_loop(
                one_core.grpc_target,
                requests,
                references,
                rate=OVERLOAD * full.rate,
                duration_s=max(TURN_S, 2.0 * QUEUE_SIZE_PER_CORE / (OVERLOAD * full.rate)),
                timeout_s=PATIENCE_S,
            )
        # Triton counts a request just after its answer has left.
        wait_for(lambda: computed(client) - before >= len(seen.latencies_s), 5.0)
        yield full, seen, computed(client) - before, grown_mb[0]


@pytest.mark.timeout(240)
def test_overload_is_refused_early_and_nothing_is_computed_in_vain(
    flood: tuple[StreamResult, StreamResult, int, float],
) -> None:
    full, seen, photos_computed, grown_mb = flood
    refused = sum(seen.errors.values())
    test = f"{HERE}::test_overload_is_refused_early_and_nothing_is_computed_in_vain"
    keep(FaultRow(f"{OVERLOAD:g}x overload", 1, seen.sent, {"Overloaded": refused}, seen.wrong_answers, 0.0, test))
    print(
        f"\ncapacity {full.rate:.1f}/s; offered {seen.sent / seen.duration_s:.0f}/s, answered {seen.rate:.1f}/s, p99 "
        f"{seen.latency_ms(99):.0f} ms; {refused} refused, p99 {seen.error_latency_ms(99):.0f} ms; + {grown_mb:.0f} MB"
    )
    assert seen.wrong_answers == 0
    assert list(seen.errors) == ["UNAVAILABLE: Exceeds maximum queue size"]
    assert photos_computed == len(seen.latencies_s)
    # As many as the queue holds, and one at work, are answered whatever happens; a fixed queue bounds the wait.
    assert len(seen.latencies_s) >= QUEUE_SIZE_PER_CORE
    assert seen.error_latency_ms(50) < seen.latency_ms(50) / 2
    assert grown_mb < MEMORY_MB
