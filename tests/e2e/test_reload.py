"""`python -m ops reload` on the real server: under load nothing is lost or mixed; a bad release changes nothing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc
import tritonclient.http

from ops.local_server import LocalServer
from ops.reload import reload
from ops.settings import Settings
from ops.status import read_status

PHOTOS = 4
GRPC_CALLERS = 8
HTTP_CALLERS = 2
RELOADS = 2
LOAD_TIMEOUT_S = 120.0
# The two releases differ by 0.5 and more in each photo's top score; the same release on one machine by 1e-6.
ATOL = 1e-3

Answer = dict[str, npt.NDArray[np.float32]]


@pytest.fixture(params=["cpu", None], ids=["fused", "ensemble"])
def running(request: pytest.FixtureRequest, releases: tuple[Path, Path], tmp_path: Path) -> Iterator[LocalServer]:
    """A server of the first release, without a cache: every answer is computed."""
    settings = Settings(
        releases[0],
        http_port=0,
        grpc_port=0,
        metrics_port=0,
        profile=request.param,
        cache_mb=0,
        state_dir=tmp_path / "state",
    )
    with LocalServer(settings) as server:
        yield server


def state_dir(server: LocalServer) -> Path:
    assert server.settings.state_dir is not None
    return server.settings.state_dir


class Caller:
    """tritonclient over one protocol, one connection for all calls."""

    def __init__(self, server: LocalServer, protocol: str) -> None:
        self.triton = {"grpc": tritonclient.grpc, "http": tritonclient.http}[protocol]
        address = server.grpc_target if protocol == "grpc" else server.http_url.removeprefix("http://")
        self.client = self.triton.InferenceServerClient(address)

    def infer(self, photo: bytes, model: str = "recognizer") -> Answer:
        image = self.triton.InferInput("image", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[photo]], dtype=object))
        names = ["category_scores", "embedding"]
        answer = self.client.infer(model, [image], outputs=[self.triton.InferRequestedOutput(name) for name in names])
        return {name: answer.as_numpy(name)[0] for name in names}


def is_same(got: Answer, expected: Answer) -> bool:
    return all(np.allclose(got[name], expected[name], atol=ATOL) for name in expected)


def test_reload_under_load_loses_and_mixes_nothing(
    running: LocalServer, releases: tuple[Path, Path], photos: list[Path]
) -> None:
    contents = [photo.read_bytes() for photo in photos[:PHOTOS]]
    first = Caller(running, "grpc")
    old = [first.infer(content) for content in contents]
    reload(state_dir(running), releases[1], LOAD_TIMEOUT_S)
    new = [first.infer(content) for content in contents]
    assert not any(is_same(one, other) for one, other in zip(old, new, strict=True))

    seen: Counter[str] = Counter()
    is_over = threading.Event()

    def call(number: int) -> None:
        caller = Caller(running, "grpc" if number < GRPC_CALLERS else "http")
        mine: Counter[str] = Counter()
        while not is_over.is_set():
            n = (number + mine.total()) % PHOTOS
            answer = caller.infer(contents[n])  # a lost request ends the caller, and the test
            is_old, is_new = is_same(answer, old[n]), is_same(answer, new[n])
            mine["old" if is_old else "new" if is_new else "neither"] += 1
        seen.update(mine)

    with ThreadPoolExecutor(GRPC_CALLERS + HTTP_CALLERS) as pool:
        callers = [pool.submit(call, number) for number in range(GRPC_CALLERS + HTTP_CALLERS)]
        try:
            for turn in range(RELOADS):
                reload(state_dir(running), releases[turn % 2], LOAD_TIMEOUT_S)
        finally:
            is_over.set()
        for caller in callers:
            caller.result()
    print(f"\n{RELOADS} reloads, answers: {dict(seen)}")
    assert seen["neither"] == 0
    assert min(seen["old"], seen["new"]) > 0
    assert seen.total() > 200
    assert sorted(model.name for model in read_status(state_dir(running)).models) == [
        "classifier",
        "embedder",
        "preprocess",
        "recognizer",
    ]
