"""What `build` refuses leaves the repository byte for byte as it was."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper

from export.cli.main import main
from export.errors import RepositoryError
from export.repository.manifest import read_manifest
from export.repository.writable import require_writable
from export.sources.architectures import find_architecture

ROOT = Path(__file__).resolve().parents[2]


def snapshot(repository: Path) -> dict[str, tuple[bytes, int]]:
    return {
        path.relative_to(repository).as_posix(): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in repository.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the placed one."""
    return Path(
        shutil.copytree(
            ROOT / "model_repository", tmp_path / "repository", ignore=shutil.ignore_patterns("__pycache__")
        )
    )


@pytest.fixture(scope="session")
def state() -> dict[str, torch.Tensor]:
    """MobileNetV3-small's tensors, small and random."""
    torch.manual_seed(0)
    return dict(find_architecture("mobilenet_v3_small").build(1000).state_dict())


def refusal(repository: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What `build` said, having checked that it changed nothing and exits 1."""
    before = snapshot(repository)
    assert main(["build", "--repository", str(repository), *arguments]) == 1
    assert snapshot(repository) == before
    assert {path.name for path in repository.iterdir()} == {name.partition("/")[0] for name in before}
    assert read_manifest(repository) is not None
    return capsys.readouterr().err


def test_truncated_checkpoint_is_refused(
    repository: Path, state: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(state, tmp_path / "w.pth")
    os.truncate(tmp_path / "w.pth", 1_000_000)
    said = refusal(repository, ["--model", "mobilenet_v3_small", "--weights", str(tmp_path / "w.pth")], capsys)
    assert "w.pth (1,000,000 bytes)" in said
    assert "truncated" in said


def test_pickled_module_is_refused_and_not_run(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "w.pth")
    assert "pickled code" in refusal(repository, ["--checkpoint", str(tmp_path / "w.pth")], capsys)


def test_checkpoint_of_other_classes_is_refused_until_they_are_named(
    repository: Path, state: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {**state, "classifier.3.weight": torch.ones(37, 1024), "classifier.3.bias": torch.zeros(37)}
    torch.save(state, tmp_path / "w.pth")
    (tmp_path / "labels.txt").write_text("\n".join(f"class {n}" for n in range(36)))
    arguments = ["--model", "mobilenet_v3_small", "--checkpoint", str(tmp_path / "w.pth")]
    assert "has 37 classes, ImageNet-1k has 1000" in refusal(repository, arguments, capsys)
    said = refusal(repository, [*arguments, "--labels", str(tmp_path / "labels.txt")], capsys)
    assert "has 37 classes" in said
    assert "has 36 lines" in said


def test_checkpoint_of_another_shape_is_refused(
    repository: Path, state: dict[str, torch.Tensor], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({**state, "features.0.0.weight": torch.ones(8, 3, 3, 3)}, tmp_path / "w.pth")
    said = refusal(repository, ["--model", "mobilenet_v3_small", "--weights", str(tmp_path / "w.pth")], capsys)
    assert "first features.0.0.weight: (8, 3, 3, 3), expected (16, 3, 3, 3)" in said


def test_unknown_model_is_refused_with_near_names(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "Did you mean resnet50" in refusal(repository, ["--model", "resnet51", "--weights", "none"], capsys)


def test_network_without_linear_head_is_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(repository, ["--model", "squeezenet1_1", "--weights", "none"], capsys)
    assert "a non-linear layer follows" in said


def test_side_the_network_does_not_take_is_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(repository, ["--model", "vit_b_32", "--weights", "none", "--image-side", "160"], capsys)
    assert "does not accept images of 160 x 160 px" in said


def test_onnx_file_with_a_fixed_batch_is_refused(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = helper.make_graph(
        [helper.make_node("GlobalAveragePool", ["x"], ["y"])],
        "fixed",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 224, 224])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3, 1, 1])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), str(tmp_path / "m.onnx"))
    assert "its batch size is fixed at 1" in refusal(repository, ["--onnx", str(tmp_path / "m.onnx")], capsys)


def test_factory_that_fails_is_refused(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refusal(repository, ["--module", "no_such_module:build"], capsys)
    assert "ModuleNotFoundError" in said


def test_repository_that_is_something_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main(["build", "--repository", str(tmp_path)]) == 1
    assert "contains files but none of the models" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def below_a_file(folder: Path) -> Path:
    (folder / "note").write_text("mine")
    return folder / "note/served"


def a_file(folder: Path) -> Path:
    return below_a_file(folder).parent


def below_a_dangling_link(folder: Path) -> Path:
    (folder / "gone").symlink_to(folder / "nowhere")
    return folder / "gone/served"


def of_a_long_name(folder: Path) -> Path:
    return folder / "new" / ("ü" * 128) / "served"


def on_a_read_only_disk(folder: Path) -> Path:
    return Path("/proc/served")


TARGETS: dict[Callable[[Path], Path], str] = {
    below_a_file: "note is a file; expected a folder, so",
    a_file: "note is a file; expected a folder. Nothing was changed. Choose another folder with --",
    below_a_dangling_link: "gone is a link to something that does not exist, so",
    of_a_long_name: "takes names of at most 255 bytes, and one has 256, so",
    on_a_read_only_disk: "/proc",
}


@pytest.mark.parametrize("command", ["build --repository", "release --output"])
@pytest.mark.parametrize("target", TARGETS)
def test_target_that_cannot_be_written_is_refused_before_the_work(
    target: Callable[[Path], Path], command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = target(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    started_s = time.monotonic()
    assert main([*command.split(), str(where)]) == 1
    assert time.monotonic() - started_s < 5  # the work takes longer
    said = capsys.readouterr()
    assert TARGETS[target] in said.err
    assert "Loading weights" not in said.out
    assert sorted(tmp_path.rglob("*")) == before


def test_disk_without_room_is_refused_before_the_work(tmp_path: Path) -> None:
    require_writable(tmp_path / "a/b", 1, "--output")
    told = "MB free, and the result needs some 1,000,000,000,000 MB. Nothing was changed. Free some space"
    with pytest.raises(RepositoryError, match=told):
        require_writable(tmp_path / "a/b", 10**18, "--output")


def test_folder_and_its_parents_are_made(tmp_path: Path, photos: list[Path]) -> None:
    one = tmp_path / "it's ö"
    one.mkdir()
    shutil.copy(photos[0], one)
    served = tmp_path / "new" / "$HOME (x)" / "served"
    small = ["--model", "mobilenet_v3_small", "--weights", "none"]
    assert main(["build", *small, "--photos", str(one), "--repository", str(served)]) == 0
    assert main(["release", "--repository", str(served), "--output", f"{tmp_path}/re leases/deeper/"]) == 0
    (release,) = (tmp_path / "re leases/deeper").iterdir()
    assert main(["publish", str(release), f"{tmp_path}/pub lished/it's/#1 %20"]) == 0
    assert (tmp_path / "pub lished/it's/#1 %20/current/manifest.json").is_file()
