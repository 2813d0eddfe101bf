"""A large body takes no shared memory that others need, and the server's answer names none of its segments."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ops.settings import ADDRESS
from tests.faults.served import Served, can_mount, serving
from tests.security.searches import Caller, message, plain, texts

SHARED_MEMORY = Path("/dev/shm")
# A server of this repository starts with 10 MB.
SIZE_BYTES = 64 << 20
# Smaller than the front's limit on bodies, larger than what is free.
LARGE_BYTES = 60_000_000
BEYOND_FRONT_BYTES = 80_000_000


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    if not can_mount():
        pytest.skip("this user may not mount file systems of its own")
    folder = tmp_path_factory.mktemp("small") / "state"
    with serving(folder, "--cache-mb=0", disks={SHARED_MEMORY: f"{SIZE_BYTES}"}) as served:
        yield served


def free_bytes(served: Served) -> int:
    status = os.statvfs(served.inside(SHARED_MEMORY))
    return status.f_bavail * status.f_frsize


def is_well(served: Served, photos: list[Path]) -> bool:
    caller = Caller(served.target)
    photo = caller.ask(message("recognizer", [texts("image", photos[0].read_bytes())]))
    return (photo, caller.ask(plain())) == (("OK", ""), ("OK", ""))


def test_body_beyond_the_limit_takes_no_shared_memory(served: Served, photos: list[Path]) -> None:
    assert is_well(served, photos)
    before = free_bytes(served)
    status, text = Caller(served.target).ask(message("recognizer", [texts("image", bytes(BEYOND_FRONT_BYTES))]))
    assert (status, text[:20]) == ("RESOURCE_EXHAUSTED", "[message_too_large] ")
    assert free_bytes(served) == before
    assert is_well(served, photos)


def test_full_shared_memory_is_told_without_names_over_grpc(served: Served, photos: list[Path]) -> None:
    for model, name in (("recognizer", "image"), ("index", "taste")):
        status, text = Caller(served.target).ask(message(model, [texts(name, bytes(LARGE_BYTES))]))
        assert (status, text) == (
            "UNAVAILABLE",
            "[queue_full] shared memory is full on the server; send the request again in a moment",
        )
    assert is_well(served, photos)


def test_full_shared_memory_is_told_without_names_over_http(served: Served, photos: list[Path]) -> None:
    headers: dict[str, Any] = {"Inference-Header-Content-Length": "0"}
    with closing(http.client.HTTPConnection(ADDRESS, served.state.ports.http, timeout=60)) as connection:
        connection.request("POST", "/v2/models/recognizer/infer", bytes(LARGE_BYTES), headers)
        answer = connection.getresponse()
        text = answer.read().decode()
    assert (answer.status, json.loads(text)["error"][:12]) == (503, "[queue_full]")
    assert "triptych_" not in text
    assert is_well(served, photos)
