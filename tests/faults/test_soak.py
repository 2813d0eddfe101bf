"""`make soak`: good and bad photos for hours; memory, shared memory, descriptors and threads must not climb.

The bar holds for runs of 30 minutes and more; a shorter one prints its slopes, and checks answers and processes alone.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from scipy.stats import theilslopes

from ops.server.local_server import LocalServer
from ops.server.processes import find_stubs
from ops.settings import Settings
from tests.faults.hostile_photos import hostile_photos
from tests.faults.load import Golden, loaded
from tests.faults.records import FOLDER
from triptych import Client, TriptychError

# The allocators settle within the first quarter.
WARM_UP = 0.25
SAMPLES = 200
BAR_PER_HOUR = 0.01
BAR_FROM_S = 1_800.0
GOOD_CALLERS = 4
# Triton's Python backend never gives back what its largest request took in /dev/shm, each process for itself. A slow
# machine meets the largest photos of the corpus only after the first quarter: what they take would look like a leak.
LARGEST = 24
AT_ONCE = 8
pytestmark = pytest.mark.alone


# With pages of the answer cache, whose file is of fixed size, and of /dev/shm, which has a row of its own: each stub
# counts those that it came by.
MAPPED = "stubs RSS"


def sample(server: LocalServer) -> dict[str, float]:
    """What the server and its stubs hold."""
    processes = [psutil.Process(server.pid), *find_stubs(server.segment_prefix)]
    memory = [process.memory_info() for process in processes]
    held = {
        "server RSS": memory[0].rss,
        MAPPED: sum(stub.rss for stub in memory[1:]),
        "stubs' own": sum(stub.rss - stub.shared for stub in memory[1:]),
        "threads": 0,
        "descriptors": 0,
    }
    for process in processes:
        held["threads"] += process.num_threads()
        held["descriptors"] += process.num_fds()
    held["/dev/shm"] = sum(file.stat().st_size for file in Path("/dev/shm").glob(f"{server.segment_prefix}*"))
    return {name: float(value) for name, value in held.items()}


def send_largest(client: Client) -> None:
    """The largest photos of the corpus, several at once, so that each process has met them."""
    largest = sorted(hostile_photos(), key=lambda photo: len(photo.content))[-LARGEST:]

    def send(content: bytes) -> None:
        with contextlib.suppress(TriptychError):
            client.embed(content)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(send, [photo.content for photo in largest for _ in range(AT_ONCE)]))


@contextlib.contextmanager
def bad_photos(client: Client) -> Iterator[list[int]]:
    """One caller who sends the hostile corpus again and again; yields how many were sent."""
    corpus, sent, is_over = hostile_photos(), [0], threading.Event()

    def send() -> None:
        while not is_over.is_set():
            photo = corpus[sent[0] % len(corpus)]
            with contextlib.suppress(TriptychError):
                client.embed(photo.content)
            sent[0] += 1

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        is_over.set()
        thread.join()


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_nothing_climbs_under_good_and_bad_photos(request: pytest.FixtureRequest, contents: list[bytes]) -> None:
    soak_s = request.config.getoption("--soak-s")
    times_s, samples = [], []
    with (
        LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0)) as server,
        Client(server.grpc_target, timeout_s=60) as client,
    ):
        golden = Golden(client, contents)
        send_largest(client)
        with loaded(client, golden, GOOD_CALLERS) as load, bad_photos(client) as sent:
            started_s = time.monotonic()
            while (passed_s := time.monotonic() - started_s) < soak_s:
                times_s.append(passed_s)
                samples.append(sample(server))
                time.sleep(max(0.5, soak_s / SAMPLES))
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "soak.json").write_text(json.dumps({"times_s": times_s, "samples": samples}))
    kept = [at for at, passed_s in enumerate(times_s) if passed_s >= WARM_UP * soak_s]
    hours = np.array([times_s[at] for at in kept]) / 3_600
    slopes = {}
    print(f"\n{load.tries} good and {sent[0]} bad photos in {soak_s:g} s")
    for name in samples[0]:
        values = np.array([samples[at][name] for at in kept])
        # Theil-Sen: a sample taken while a photo of 49 megapixels was being decoded is a peak, no climb.
        slopes[name] = float(theilslopes(values, hours).slope / np.median(values))
        print(f"{name:<12} {values[0]:>14,.0f} -> {values[-1]:>14,.0f}  {slopes[name]:+.2%} an hour")
    assert load.wrong == 0
    assert load.failures == []
    if soak_s >= BAR_FROM_S:
        assert {name: slope for name, slope in slopes.items() if slope > BAR_PER_HOUR and name != MAPPED} == {}
