from pathlib import Path

import pytest

from ops.errors import OpsError, WrongUsage
from ops.repository import check_repository, has_finalizers, missing_files

CONFIG = """
backend: "python"
output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]
model_warmup [ { name: "w" inputs { key: "x" value { data_type: TYPE_STRING dims: [ 1 ] input_data_file: "photo" } } } ]
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A placed model in the repository `tmp_path`."""
    folder = tmp_path / "models/m"
    for file, text in {"config.pbtxt": CONFIG, "labels.txt": "a\nb\n", "warmup/photo": "x", "1/model.py": ""}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


def test_placed_repository_is_accepted(model: Path) -> None:
    check_repository(model.parents[1], None)


def test_files_a_config_names_are_missed(model: Path) -> None:
    (model / "labels.txt").unlink()
    (model / "warmup/photo").unlink()
    assert missing_files(model, None) == [model / "labels.txt", model / "warmup/photo"]
    with pytest.raises(
        OpsError, match=r"missing models/m/labels\.txt, models/m/warmup/photo\. Place them with `make export`"
    ):
        check_repository(model.parents[1], None)


def test_profile_is_checked_with_its_own_config(model: Path) -> None:
    (model / "labels.txt").unlink()
    (model / "configs").mkdir()
    (model / "configs/gpu.pbtxt").write_text('backend: "onnxruntime"')
    check_repository(model.parents[1], "gpu")


def test_unknown_profile_is_wrong_usage_naming_those_that_exist(model: Path) -> None:
    (model / "configs").mkdir()
    (model / "configs/gpu.pbtxt").write_text("")
    with pytest.raises(WrongUsage, match=r"profile 'tpu'\. It has: gpu;"):
        check_repository(model.parents[1], "tpu")
    check_repository(model.parents[1], "cpu")  # the default: config.pbtxt where nothing was placed


def test_absent_and_empty_repository_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="No model repository"):
        check_repository(tmp_path / "absent", None)
    with pytest.raises(OpsError, match=r"holds no model: expected models/<model>/config\.pbtxt"):
        check_repository(tmp_path, None)
    (tmp_path / "models").mkdir()
    with pytest.raises(OpsError, match="holds no model"):
        check_repository(tmp_path, None)


def test_layout_of_an_earlier_version_is_refused_with_what_to_do(model: Path) -> None:
    with pytest.raises(OpsError, match=r"layout of an earlier version.*python -m export release.*make export"):
        check_repository(model.parent, None)


def test_folder_of_models_alone_is_refused_with_the_repository_that_is_meant(model: Path) -> None:
    repository = model.parents[1]
    (repository / "triptych_models").mkdir()
    with pytest.raises(OpsError, match=rf"only the folder `models` of a repository\. Name .*: {repository}\."):
        check_repository(model.parent, None)


def test_config_that_cannot_be_read_is_left_to_the_server(model: Path) -> None:
    (model / "config.pbtxt").write_text("nonsense {")
    check_repository(model.parents[1], None)


def test_finalizer_counts_only_in_a_python_model(model: Path) -> None:
    assert not has_finalizers(model.parents[1], None)
    (model / "1/model.py").write_text("def finalize(self): ...")
    assert has_finalizers(model.parents[1], None)
    (model / "config.pbtxt").write_text('platform: "ensemble"')
    assert not has_finalizers(model.parents[1], None)


def test_finalizer_of_the_package_counts_for_models_that_import_it(model: Path) -> None:
    package = model.parents[1] / "triptych_models"
    package.mkdir()
    (package / "adapter.py").write_text("def finalize(self): ...")
    assert not has_finalizers(model.parents[1], None)
    (model / "1/model.py").write_text("import triptych_models")
    assert has_finalizers(model.parents[1], None)
