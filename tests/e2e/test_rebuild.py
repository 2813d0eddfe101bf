"""Rebuilds of the index on the real server: beside writes and searches, and with processes killed in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tritonclient.utils import InferenceServerException

from ops.server.local_server import LocalServer
from ops.server.processes import find_stubs
from ops.settings import Settings
from tests.e2e.test_catalogue import Caller
from triptych import Client, NotReady

# A rebuild of so many takes some seconds on two cores.
PHOTOS = 4000
DIMENSION = 1280


def embedding_of(number: int) -> npt.NDArray[np.float32]:
    """float32[1,D], L2 norm 1; another for each number."""
    vector = np.random.default_rng(number).normal(size=(1, DIMENSION)).astype(np.float32)
    unit: npt.NDArray[np.float32] = vector / np.linalg.norm(vector)
    return unit


def upsert(caller: Caller, numbers: range) -> None:
    matrix = np.concatenate([embedding_of(number) for number in numbers])
    items = [{"product_id": f"p{number}", "fields": {"number": number}} for number in numbers]
    caller.catalogue("upsert", matrix, items=items)


def nearest(caller: Caller, number: int) -> str:
    """The product that a search with a photo's own embedding finds first."""
    ((first, *_),) = caller.search("index", embedding=embedding_of(number), k=1)
    return first[0]


def wait_for(caller: Caller, meets: Callable[[dict[str, Any]], bool], within_s: float = 120) -> dict[str, Any]:
    """The first status that does."""
    deadline_s = time.monotonic() + within_s
    while not meets(status := caller.catalogue("status")):
        assert time.monotonic() < deadline_s, status
        time.sleep(0.02)
    return dict(status)


def is_idle(status: dict[str, Any]) -> bool:
    return bool(status["state"] == "idle")


def metrics(server: LocalServer) -> dict[str, float]:
    with urllib.request.urlopen(server.metrics_url) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if line[:1] not in ("#", "")}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, state_dir=None, catalogue_dir=tmp_path / "catalogue")
    with LocalServer(settings) as server:
        yield server


@pytest.fixture
def caller(server: LocalServer) -> Caller:
    """Of a server with its catalogue indexed and saved."""
    caller = Caller(server)
    assert is_idle(caller.catalogue("status"))
    for start in range(0, PHOTOS, 200):
        upsert(caller, range(start, start + 200))
    caller.catalogue("rebuild")
    wait_for(caller, is_idle)
    return caller


def test_catalogue_and_searches_go_on_when_the_index_is_rebuilt(server: LocalServer, caller: Caller) -> None:
    began_s = time.monotonic()
    answer = caller.catalogue("rebuild")
    assert time.monotonic() - began_s < 1
    assert answer["photos"] == PHOTOS
    with pytest.raises(InferenceServerException, match=r"\[rebuild_running\] A rebuild is ") as refusal:
        caller.catalogue("rebuild")
    assert "UNAVAILABLE" in str(refusal.value.status())
    seen, ratios, number = [], [], PHOTOS
    while not is_idle(status := caller.catalogue("status")):
        seen.append(status)
        upsert(caller, range(number, number + 1))
        assert nearest(caller, number) == f"p{number}"
        assert caller.catalogue("delete", product_ids=[f"p{number - PHOTOS}"]) == {"deleted": 1}
        assert nearest(caller, number - PHOTOS) != f"p{number - PHOTOS}"
        assert caller.catalogue("count")["photos"] == PHOTOS
        ratios.append(metrics(server)["triptych_index_rebuild_progress_ratio"])
        number += 1
    running = [status for status in seen if status["state"] == "running"]
    assert len(running) > 5
    assert {status["rebuild"] for status in seen} == {answer["rebuild"]}
    assert "building_hnsw_index" in {status["phase"] for status in running}
    progress = [status["progress"] for status in running]
    assert progress == sorted(progress)
    assert len(set(ratios)) > 2
    assert min(ratios) < 1
    assert (status["last"]["rebuild"], status["last"]["error"]) == (answer["rebuild"], None)
    for each in (*range(number - PHOTOS, number - PHOTOS + 20), *range(PHOTOS, number)):
        assert nearest(caller, each) == f"p{each}"
    time.sleep(1.5)  # models hand metrics over once a second
    found = metrics(server)
    assert found["triptych_index_rebuild_progress_ratio"] == 1
    assert found['triptych_index_rebuilds_total{outcome="done"}'] == 2
    assert found['triptych_index_rebuilds_total{outcome="failed"}'] == 0
    assert found['triptych_catalogue_requests_total{call="rebuild",outcome="refused"}'] == 1


def kill_server(server: LocalServer) -> None:
    server.kill()


def kill_index(server: LocalServer) -> None:
    _kill_stub(server, "index")


def kill_catalogue(server: LocalServer) -> None:
    _kill_stub(server, "catalogue")


def _kill_stub(server: LocalServer, model: str) -> None:
    (stub,) = [
        stub
        for stub in find_stubs(server.segment_prefix)
        if any(f"/models/{model}/" in word or f"/{model}/1/" in word for word in stub.cmdline())
    ]
    os.kill(stub.pid, signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_server, kill_index, kill_catalogue])
def test_rebuild_is_made_and_nothing_is_lost_when_a_process_is_killed_in_it(
    server: LocalServer, caller: Caller, kill: Callable[[LocalServer], None]
) -> None:
    rebuild = caller.catalogue("rebuild")["rebuild"]
    wait_for(caller, lambda status: bool(status["phase"] == "building_hnsw_index" and status["done"] > 1000))
    upsert(caller, range(PHOTOS, PHOTOS + 50))
    caller.catalogue("delete", product_ids=["p0"])
    kill(server)
    if kill is kill_index:
        status = wait_for(caller, lambda status: not status["index_loaded"], within_s=5)  # the kernel takes a moment
        assert (status["state"], status["rebuild"]) == ("waiting", rebuild)
        with pytest.raises(InferenceServerException, match="A rebuild is waiting for model `index`"):
            caller.catalogue("rebuild")
    server.kill()
    server.restart()
    server.wait_ready()
    again = Caller(server)
    assert nearest(again, 7) == "p7"  # before the rebuild is made anew
    status = wait_for(again, is_idle)
    assert (status["last"]["rebuild"], status["last"]["error"]) == (rebuild, None)
    assert again.catalogue("count")["photos"] == PHOTOS + 49
    assert status["last"]["photos"] == PHOTOS + 49
    for number in (*range(1, PHOTOS, 97), *range(PHOTOS, PHOTOS + 50)):
        assert nearest(again, number) == f"p{number}"
    assert nearest(again, 0) != "p0"


def test_client_and_command_wait_and_tell_how_far_it_is(server: LocalServer, caller: Caller, tmp_path: Path) -> None:
    key = str(caller.key).strip()
    triptych = [sys.executable, "-W", "error", "-c", "import sys; from triptych.cli import main; sys.exit(main())"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*triptych, "catalogue", *words, "--target", server.grpc_target],
            env={**os.environ, "TRIPTYCH_CATALOGUE_KEY": key},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
        )

    with Client(server.grpc_target, catalogue_key=key) as client:
        assert client.catalogue.rebuild(wait=False) == PHOTOS
        with pytest.raises(NotReady, match="A rebuild is") as refusal:
            client.catalogue.rebuild()
        assert refusal.value.code == "rebuild_running"
        shown = run("status")
        assert (shown.returncode, shown.stderr) == (0, "")
        assert shown.stdout.startswith(("rebuild running: ", "rebuild waits for model index, which is loaded"))
        while client.catalogue.status().state != "idle":
            time.sleep(0.1)
        assert client.catalogue.rebuild() == PHOTOS
        last = client.catalogue.status().last
        assert last is not None
        assert (last.photos, last.error) == (PHOTOS, None)
        assert last.seconds > 0
    done = run("rebuild")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"index rebuilt: {PHOTOS} photos\n", "")
