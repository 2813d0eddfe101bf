"""A repository whose weights are of another shape than its config says is not served."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ops.errors import ServerFailed
from ops.server.local_server import LocalServer
from ops.settings import REPOSITORY, Settings


def test_server_refuses_an_onnx_file_whose_tensors_are_not_those_of_the_config(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(REPOSITORY, repository)
    config = repository / "models/embedder/config.pbtxt"
    config.write_text(config.read_text().replace("1280", "512"))
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, repository=repository, profile=None)
    with pytest.raises(ServerFailed, match=r"the config says features is \[512\], the placed ONNX file has \[1280\]"):
        LocalServer(settings).__enter__()
