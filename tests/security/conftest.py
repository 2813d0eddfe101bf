"""A real server behind its front, for each module that attacks one, and others who call it meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.server.local_server import LocalServer
from ops.settings import Settings
from tests.faults.load import Golden
from tests.security.beside import Stage
from triptych import Client


@pytest.fixture(scope="module")
def attacked() -> Iterator[LocalServer]:
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, cache_mb=0)) as server:
        yield server


@pytest.fixture(scope="module")
def stage(attacked: LocalServer, photos: list[Path]) -> Stage:
    with Client(attacked.grpc_target) as client:
        return Stage(attacked, Golden(client, [photo.read_bytes() for photo in photos[:4]]))
