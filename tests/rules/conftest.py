"""Programs and live servers of the tier: a program that is missing skips what needs it, with its name."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable

import pytest

PACKAGES = {"promtool": "prometheus", "prometheus": "prometheus", "amtool": "prometheus-alertmanager"}
PATIENCE_S = 60.0
POLL_S = 0.25


def find_program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} on PATH: `apt-get install {PACKAGES[name]}`")
    return found


@pytest.fixture(scope="session")
def promtool() -> str:
    return find_program("promtool")


@pytest.fixture(scope="session")
def amtool() -> str:
    return find_program("amtool")


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(POLL_S)
    return False
