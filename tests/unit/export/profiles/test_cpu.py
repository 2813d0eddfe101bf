from __future__ import annotations

from pathlib import Path

import pytest

from export.errors import RepositoryError
from export.profiles.cpu import size_for
from export.repository.configs import read_config


@pytest.mark.parametrize("cores", range(1, 129))
def test_sizing_keeps_threads_within_cores(cores: int) -> None:
    sizing = size_for(cores)
    assert sizing.recognizer_instances == cores
    assert 1 <= sizing.lone_threads <= cores


def test_read_config_says_what_to_do_when_repository_is_missing(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match=r"models/embedder/config\.pbtxt.*--repository"):
        read_config(tmp_path, "embedder")


def test_read_config_refuses_when_key_is_unknown_to_triton(tmp_path: Path) -> None:
    (tmp_path / "models/embedder").mkdir(parents=True)
    (tmp_path / "models/embedder/config.pbtxt").write_text('name: "embedder"\nmax_bach_size: 8\n')
    with pytest.raises(RepositoryError, match="max_bach_size"):
        read_config(tmp_path, "embedder")
