from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from triptych_models.triton.server_folder import open_server_folder


def test_instances_of_one_server_get_one_folder_and_dead_servers_lose_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    for name in (f"triptych-server-{gone.pid}-1", f"triptych-server-{os.getpid()}-1"):
        (tmp_path / name).mkdir()
    folder = open_server_folder()
    assert folder == open_server_folder()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert folder.name.startswith(f"triptych-server-{os.getppid()}-")
