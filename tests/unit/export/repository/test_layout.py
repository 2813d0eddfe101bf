"""Which folder of a repository is which, and what is said of one that is laid out otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from export.errors import RepositoryError
from export.repository.configs import MODELS, read_configs
from export.repository.layout import find_configs, list_files, model_file


def write(repository: Path, *names: str) -> None:
    for name in names:
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text("")


def test_configs_are_found_in_the_folder_of_the_models(tmp_path: Path) -> None:
    write(tmp_path, "models/b/config.pbtxt", "models/a/config.pbtxt", "models/a/configs/cpu.pbtxt")
    assert find_configs(tmp_path) == [tmp_path / "models/a/config.pbtxt", tmp_path / "models/b/config.pbtxt"]


def test_folder_without_models_is_none_of_an_earlier_layout(tmp_path: Path) -> None:
    write(tmp_path, "notes.txt")
    assert find_configs(tmp_path) == []
    assert find_configs(tmp_path / "nowhere") == []


def test_earlier_layout_is_refused_with_what_to_do(tmp_path: Path) -> None:
    write(tmp_path, *(f"{model}/config.pbtxt" for model in MODELS))
    for read in (find_configs, read_configs):
        with pytest.raises(RepositoryError, match=r"earlier layout.*triptych build --repository.*triptych release"):
            read(tmp_path)


def test_folder_of_the_models_is_refused_with_the_one_to_name(tmp_path: Path) -> None:
    write(tmp_path, "models/a/config.pbtxt", "triptych_models/__init__.py")
    with pytest.raises(RepositoryError, match=rf"contains only the models.*triptych_models: {tmp_path}\."):
        find_configs(tmp_path / "models")


def test_listed_files_are_without_byte_code_and_hidden_ones(tmp_path: Path) -> None:
    write(tmp_path, "a/one.py", "a/__pycache__/one.cpython-311.pyc", "a/.one.py.swp")
    (tmp_path / "b").symlink_to(tmp_path / "a/one.py")
    listed = dict(list_files(tmp_path))
    assert listed == dict.fromkeys(("a/one.py", "b"), (tmp_path / "a/one.py").resolve())


def test_model_file_is_relative_to_the_repository() -> None:
    assert model_file("embedder", "1/model.onnx") == "models/embedder/1/model.onnx"
