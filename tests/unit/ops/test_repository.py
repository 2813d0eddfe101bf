import json
from pathlib import Path

import pytest
from loky import cpu_count

from ops.errors import OpsError, WrongUsage
from ops.repository import check_repository, describe_misfit, describe_sizing, has_finalizers, missing_files

CONFIG = """
backend: "python"
output [ { name: "y" data_type: TYPE_FP32 dims: [ 2 ] label_filename: "labels.txt" } ]
model_warmup [ { name: "w" inputs { key: "x" value { data_type: TYPE_STRING dims: [ 1 ] input_data_file: "photo" } } } ]
"""
SIZED_CONFIG = """backend: "python"
instance_group [ { kind: KIND_CPU count: 2 } ]
parameters { key: "lone_threads" value { string_value: "4" } }
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
        OpsError, match=r"missing models/m/labels\.txt, models/m/warmup/photo\. Place them with `make build`"
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
    with pytest.raises(WrongUsage, match=r"profile 'tpu'\. Its profiles: gpu;"):
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
    with pytest.raises(OpsError, match=r"layout of an earlier version.*triptych release.*make build"):
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


def test_sizing_names_processes_and_threads_of_the_chosen_profile(tmp_path: Path) -> None:
    (tmp_path / "models/one/configs").mkdir(parents=True)
    (tmp_path / "models/one/config.pbtxt").write_text('platform: "ensemble"')
    (tmp_path / "models/one/configs/cpu.pbtxt").write_text(SIZED_CONFIG)
    assert describe_sizing(tmp_path, "cpu") == "one x 2 (threads for a lone request 4)"
    assert describe_sizing(tmp_path, None) == ""


@pytest.mark.parametrize(("extra_cores", "profile", "is_told"), [(0, "cpu", False), (6, "cpu", True), (6, None, False)])
def test_misfit_is_told_when_placed_for_other_cores(
    tmp_path: Path, extra_cores: int, profile: str | None, is_told: bool
) -> None:
    manifest = {"inputs": {"sizing": {"cores": cpu_count() + extra_cores}}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    misfit = describe_misfit(tmp_path, profile)
    assert (misfit is not None) == is_told
    if misfit is not None:
        assert f"sized for {cpu_count() + extra_cores} cores; {cpu_count()} are available here" in misfit


def test_misfit_is_not_told_when_nothing_says_what_was_placed(tmp_path: Path) -> None:
    assert describe_misfit(tmp_path, "cpu") is None
