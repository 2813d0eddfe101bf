"""The requests that `serve` prints once it is ready work as they are pasted."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ops.server.local_server import LocalServer
from ops.supervision.serve_view import describe_requests


def test_requests_that_serve_prints_work_as_pasted(
    server: LocalServer, photos: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)  # elsewhere than the root: paths must still lead somewhere
    lines = describe_requests(server.ports, ["recognizer"])
    commands = [line.strip() for line in lines if line.startswith("  ")]
    assert len(commands) == 3
    outputs = [
        subprocess.run(["bash", "-euc", command], capture_output=True, text=True, check=True, timeout=60).stdout
        for command in commands
    ]
    assert "bull mastiff" in outputs[0]
    assert outputs[1].strip() == "bull mastiff"
    assert b"retail_score" in (tmp_path / "answer.bin").read_bytes()


def test_nothing_is_suggested_when_there_is_no_recognizer(server: LocalServer) -> None:
    assert describe_requests(server.ports, ["one"]) == []
