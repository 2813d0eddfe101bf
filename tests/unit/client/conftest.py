"""Real clients over a server that is played in memory."""

from __future__ import annotations

import pytest

from triptych import Client, Retry
from triptych.testing import FakeServer, fake_client


@pytest.fixture
def fake() -> FakeServer:
    return FakeServer()


@pytest.fixture
def client(fake: FakeServer) -> Client:
    """Retries without a pause worth waiting for."""
    return fake_client(fake, retry=Retry(first_pause_s=0.0001))
