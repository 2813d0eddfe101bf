"""start.py of the image: two processes with one life, and no way past the front."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ops.packaging.chart_front import INNER, render
from ops.packaging.image import start

PATIENCE_S = 60.0
# In the place of Triton and Envoy: it notes its arguments and environment, then waits for a signal.
STAND_IN = """#!{python}
import json, os, signal, sys, time
name = os.path.basename(sys.argv[0])
signal.signal(signal.SIGTERM, lambda *_: (open(name + ".stopped", "w").write(str(time.monotonic_ns())), sys.exit(7)))
open(name + ".part", "w").write(json.dumps([os.getpid(), sys.argv[1:], dict(os.environ)]))
os.rename(name + ".part", name + ".json")
time.sleep(600)
"""

Begin = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Begin]:
    for name in ("envoy", "tritonserver"):
        (tmp_path / name).write_text(STAND_IN.format(python=sys.executable))
        (tmp_path / name).chmod(0o755)
    (tmp_path / "given.json").write_text(render())
    script = tmp_path / "start.py"
    source = Path(start.__file__).read_text().replace("/tmp/triptych-front", str(tmp_path / "front"))
    script.write_text(source)
    begun: list[subprocess.Popen[str]] = []

    def run(**variables: str) -> subprocess.Popen[str]:
        environment = {"PATH": f"{tmp_path}:{os.defpath}", "PYTHONPATH": "/models"} | variables
        command = [sys.executable, "-I", str(script), "given.json", "tritonserver", "--model-repository=/models/models"]
        begun.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True))
        return begun[-1]

    yield run
    for process in begun:
        for name in ("tritonserver", "envoy"):
            if (tmp_path / f"{name}.json").exists() and process.poll() is None:
                process.kill()
        process.communicate()


def told(folder: Path, name: str) -> tuple[int, list[str], dict[str, str]]:
    """Process id, arguments and environment that a stand-in noted."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not (folder / f"{name}.json").exists():
        assert time.monotonic() < deadline_s, f"{name} was not started"
        time.sleep(0.05)
    pid, arguments, environment = json.loads((folder / f"{name}.json").read_text())
    return pid, arguments, environment


def stop(process: subprocess.Popen[str], folder: Path) -> int:
    told(folder, "envoy"), told(folder, "tritonserver")
    process.send_signal(signal.SIGTERM)
    return process.wait(PATIENCE_S)


def test_triton_gets_the_addresses_that_the_front_sends_to_and_a_random_key(begin: Begin, tmp_path: Path) -> None:
    keys = set()
    for _ in range(2):
        process = begin()
        _, arguments, environment = told(tmp_path, "tritonserver")
        assert arguments[0] == "--model-repository=/models/models"
        for protocol, port in INNER.items():
            assert {f"--{protocol}-address=127.0.0.1", f"--{protocol}-port={port}"} <= set(arguments)
        closed = [word.partition("=")[2] for word in arguments if "restricted" in word]
        assert closed[0] == closed[1]
        apis, _, key = closed[0].partition(":triptych-key=")
        assert set(apis.split(",")) >= {"shared-memory", "model-repository", "logging"}
        assert len(bytes.fromhex(key)) == 32
        assert key not in json.dumps(environment)
        keys.add(key)
        assert stop(process, tmp_path) == 7
        (tmp_path / "tritonserver.json").unlink()
        (tmp_path / "envoy.json").unlink()
    assert len(keys) == 2


def test_front_reads_a_configuration_whose_administration_nobody_else_enters(begin: Begin, tmp_path: Path) -> None:
    process = begin()
    _, arguments, environment = told(tmp_path, "envoy")
    file = Path(arguments[arguments.index("--config-path") + 1])
    config: dict[str, Any] = json.loads(file.read_text())
    assert config["admin"]["address"]["pipe"]["path"] == str(tmp_path / "front/admin.sock")
    assert "/run/front" not in file.read_text()
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert "PYTHONPATH" not in environment
    assert stop(process, tmp_path) == 7


def test_signal_stops_triton_and_then_the_front(begin: Begin, tmp_path: Path) -> None:
    assert stop(begin(), tmp_path) == 7
    times = [int((tmp_path / f"{name}.stopped").read_text()) for name in ("tritonserver", "envoy")]
    assert times == sorted(times)


def test_triton_is_stopped_when_the_front_ends(begin: Begin, tmp_path: Path) -> None:
    process = begin()
    told(tmp_path, "tritonserver")
    os.kill(told(tmp_path, "envoy")[0], signal.SIGKILL)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "The front ended with -9; Triton is stopped." in said
    assert (tmp_path / "tritonserver.stopped").exists()


def test_key_is_that_of_the_file_that_the_variable_names(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("of-a-secret\n")
    process = begin(TRIPTYCH_ADMIN_KEY_FILE="key")
    _, arguments, _ = told(tmp_path, "tritonserver")
    assert len([word for word in arguments if word.endswith(":triptych-key=of-a-secret")]) == 2
    assert stop(process, tmp_path) == 7


def test_empty_key_stops_the_start(begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    process = begin(TRIPTYCH_ADMIN_KEY_FILE="key")
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert "is empty, expected a key" in said
