"""`triptych observe` as a person runs it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ops.settings import ROOT
from tests.rules.conftest import find_program, wait_for

TIMEOUT_S = 120
COMMAND = [sys.executable, "-m", "ops", "observe", "--load-s=1"]


@pytest.fixture(autouse=True)
def _needs(photos: list[Path]) -> None:
    find_program("prometheus")


@pytest.fixture
def observing(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """It runs until asked to stop; its output goes to a file."""
    said = tmp_path / "said"
    with said.open("wb") as out, subprocess.Popen([*COMMAND], cwd=ROOT, stdout=out, stderr=out) as process:
        yield process, said
        process.kill()


def test_observe_sends_photos_says_where_to_look_and_ends(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--for=0", f"--draw={tmp_path}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"rules    http://127\.0\.0\.1:\d+/rules", done.stdout)
    assert re.search(r"Sent \d\d+ photos in \d+ s", done.stdout)
    assert "firing alerts: none" in done.stdout
    assert len(list(tmp_path.glob("*.png"))) == 5
    assert done.stdout.endswith("Stopped.\n")


def test_ctrl_c_stops_server_and_prometheus(observing: tuple[subprocess.Popen[bytes], Path]) -> None:
    process, said = observing
    assert wait_for(lambda: b"Press Ctrl-C to stop both" in said.read_bytes()), said.read_text()
    children = psutil.Process(process.pid).children(recursive=True)
    assert {"prometheus", "tritonserver"} <= {child.name() for child in children}
    process.send_signal(signal.SIGINT)
    assert process.wait(TIMEOUT_S) == 0, said.read_text()
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_observe_says_what_to_install_when_there_is_no_prometheus() -> None:
    done = subprocess.run(
        [*COMMAND, "--for=0"],
        cwd=ROOT,
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(
        "error: `prometheus` is not on PATH. Install it (Debian and Ubuntu: `apt-get install prometheus`)"
    )
