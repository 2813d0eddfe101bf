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
    folder = tmp_path / "m"
    for file, text in {"config.pbtxt": CONFIG, "labels.txt": "a\nb\n", "warmup/photo": "x", "1/model.py": ""}.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


def test_placed_repository_is_accepted(model: Path) -> None:
    check_repository(model.parent, None)


def test_files_a_config_names_are_missed(model: Path) -> None:
    (model / "labels.txt").unlink()
    (model / "warmup/photo").unlink()
    assert missing_files(model, None) == [model / "labels.txt", model / "warmup/photo"]
    with pytest.raises(OpsError, match=r"missing m/labels\.txt, m/warmup/photo\. Place them with `make export`"):
        check_repository(model.parent, None)


def test_profile_is_checked_with_its_own_config(model: Path) -> None:
    (model / "labels.txt").unlink()
    (model / "configs").mkdir()
    (model / "configs/gpu.pbtxt").write_text('backend: "onnxruntime"')
    check_repository(model.parent, "gpu")


def test_unknown_profile_is_wrong_usage_naming_those_that_exist(model: Path) -> None:
    (model / "configs").mkdir()
    (model / "configs/gpu.pbtxt").write_text("")
    with pytest.raises(WrongUsage, match=r"profile 'tpu'\. It has: gpu;"):
        check_repository(model.parent, "tpu")
    check_repository(model.parent, "cpu")  # the default: config.pbtxt where nothing was placed


def test_absent_and_empty_repository_are_refused(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="No model repository"):
        check_repository(tmp_path / "absent", None)
    with pytest.raises(OpsError, match="holds no model"):
        check_repository(tmp_path, None)


def test_config_that_cannot_be_read_is_left_to_the_server(model: Path) -> None:
    (model / "config.pbtxt").write_text("nonsense {")
    check_repository(model.parent, None)


def test_finalizer_counts_only_in_a_python_model(model: Path) -> None:
    assert not has_finalizers(model.parent, None)
    (model / "1/model.py").write_text("def finalize(self): ...")
    assert has_finalizers(model.parent, None)
    (model / "config.pbtxt").write_text('platform: "ensemble"')
    assert not has_finalizers(model.parent, None)
