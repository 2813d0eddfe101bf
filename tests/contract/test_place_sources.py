"""A network of the user's own, as a module, a checkpoint and an ONNX file: the same answers placed."""

from __future__ import annotations

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
import torch
from torch import nn

from export.cli.main import main
from export.errors import RepositoryError, WeightsUnavailable
from export.placement.companion_files import REFERENCE
from export.repository.configs import CHECKOUT_REPOSITORY, Shape, read_configs, read_shape
from export.repository.layout import EMBEDDER_ONNX
from export.repository.manifest import read_manifest, sha256
from export.repository.serving_package import package_files, require_same_package
from export.sources.architectures import find_architecture
from export.sources.loading import BackboneChoice, load_backbone

Floats = npt.NDArray[np.float32]

ROOT = Path(__file__).resolve().parents[2]


class Shop(nn.Module):
    """What the user's module holds; the test needs the very same network."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU())
        self.classes = nn.Linear(16, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classes(self.body(images).mean(dim=(2, 3)))
        return logits


def build() -> nn.Module:
    torch.manual_seed(0)
    return Shop()


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, two_photos: Path) -> Path:
    """A folder with the user's module, two photos, and labels, two of which are sold."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "photos").symlink_to(two_photos)
    source = "\n\n".join(inspect.getsource(part) for part in (Shop, build))
    (folder / "shop_network.py").write_text(f"import torch\nfrom torch import nn\n\n\n{source}")
    (folder / "labels.txt").write_text("Shoes / boot\nShoes / sandal\ncat\ndog\nsky\n")
    return folder


def of_shop(shop: Path) -> list[str]:
    return ["--image-side", "64", "--labels", str(shop / "labels.txt"), "--photos", str(shop / "photos")]


def words_of_module(shop: Path, name: str, repository: Path) -> list[str]:
    return ["build", "--module", name, "--repository", str(repository), *of_shop(shop)]


@pytest.fixture(scope="module")
def from_module(shop: Path) -> Path:
    """A repository of the user's module, built in the module's folder; the checkout is on the path."""
    done = subprocess.run(
        [sys.executable, "-m", "export", *words_of_module(shop, "shop_network:build", shop / "served")],
        cwd=shop,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return shop / "served"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("no_such_network:build", "ModuleNotFoundError: No module named 'no_such_network'"),
        ("shop_network:make", "AttributeError: module 'shop_network' has no attribute 'make'"),
        ("shop_network", "Expected --module module:factory"),
    ],
)
def test_module_that_is_not_there_is_refused(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, sentence: str
) -> None:
    monkeypatch.syspath_prepend(shop)
    assert main(words_of_module(shop, name, shop / "nothing")) == 1
    assert sentence in capsys.readouterr().err
    assert not (shop / "nothing").exists()


def features(repository: Path) -> Floats:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    session = ort.InferenceSession(str(repository / EMBEDDER_ONNX))
    answer: Floats = session.run(["features"], {"pixels": pixels})[0]
    return answer


def export_network(network: nn.Module, file: Path, opset: int = 18) -> Path:
    (name,) = inspect.signature(network.forward).parameters
    torch.onnx.export(
        network,
        (torch.zeros(2, 3, 64, 64),),
        str(file),
        dynamic_shapes={name: {0: torch.export.Dim("n")}},
        opset_version=opset,
        verbose=False,
        dynamo=True,
    )
    return file


@pytest.mark.parametrize(("opset", "softmax"), [(17, False), (18, False), (18, True)])
def test_onnx_file_is_placed_as_the_module_it_came_from(
    from_module: Path, shop: Path, tmp_path: Path, opset: int, softmax: bool
) -> None:
    network = build().eval()
    whole = torch.nn.Sequential(network, torch.nn.Softmax(1)).eval() if softmax else network
    file = export_network(whole, tmp_path / "shop.onnx", opset)
    from_onnx = tmp_path / "onnx"
    words = ["build", "--onnx", str(file), "--repository", str(from_onnx), *of_shop(shop)]
    assert main(words) == 0
    np.testing.assert_allclose(features(from_onnx), features(from_module), atol=1e-6)
    for repository in (from_module, from_onnx):
        # A repository of its own says its own sizes, without a profile.
        assert read_shape(read_configs(repository)) == Shape(64, 16, 5)
        assert (repository / "models/classifier/labels.txt").read_text().splitlines()[1] == "Shoes / sandal"
        manifest = read_manifest(repository)
        assert manifest is not None
        assert manifest["photo_parity"]["encodings"] == 38


def test_checkpoint_is_recognised_by_its_tensors(tmp_path: Path, photos: list[Path]) -> None:
    torch.manual_seed(0)
    state = find_architecture("shufflenet_v2_x0_5").build(3).state_dict()
    torch.save({"model": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "best.pth")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    backbone = load_backbone(BackboneChoice(checkpoint=tmp_path / "best.pth", labels=tmp_path / "labels.txt"), photos)
    assert backbone.name == "shufflenet_v2_x0_5"
    assert backbone.labels == ("a", "b", "c")
    torch.testing.assert_close(backbone.head.weight, state["fc.weight"])


def test_weights_that_cannot_be_fetched_are_refused_with_their_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise URLError("no route")

    monkeypatch.setattr("torch.hub.download_url_to_file", unreachable)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "/nonexistent-torch-cache")
    monkeypatch.setattr("os.makedirs", lambda *_, **__: None)
    with pytest.raises(
        WeightsUnavailable, match=r"IMAGENET1K_V2 of resnet50 \(98 MB\).*resnet50-.*\.pth.*--weights FILE"
    ):
        find_architecture("resnet50").fetch("default")


@pytest.fixture(scope="module")
def placed(shop: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A repository of its own with a small network from an ONNX file, and the words of `build` that placed it."""
    folder = tmp_path_factory.mktemp("placed")
    words = ["build", "--onnx", str(export_network(build().eval(), folder / "shop.onnx")), *of_shop(shop)]
    assert main([*words, "--repository", str(folder / "served")]) == 0
    return folder / "served", words


@pytest.fixture
def served(placed: tuple[Path, list[str]], tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(placed[0], tmp_path / "served"))


def test_second_run_with_nothing_changed_places_nothing(served: Path, placed: tuple[Path, list[str]]) -> None:
    before = {path: path.stat().st_mtime_ns for path in served.rglob("*")}
    assert main([*placed[1], "--repository", str(served)]) == 0
    assert {path: path.stat().st_mtime_ns for path in served.rglob("*")} == before


def test_code_is_placed_as_it_was_verified_when_the_repository_has_another(
    served: Path, placed: tuple[Path, list[str]]
) -> None:
    manifest = json.loads((served / "manifest.json").read_text())
    assert package_files().items() <= {name: (served / name).read_bytes() for name in manifest["files"]}.items()
    # As an earlier version of the checkout left it.
    earlier = {"triptych_models/errors.py": b"", "triptych_models/old/gone.py": b"", "models/index/1/model.py": b""}
    for name, content in earlier.items():
        (served / name).parent.mkdir(exist_ok=True)
        (served / name).write_bytes(content)
        manifest["files"][name] = sha256(content)
    manifest["inputs"]["code"] = "of another version"
    (served / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RepositoryError, match=r"errors\.py differs, old/gone\.py must be removed"):
        require_same_package(served)
    assert main([*placed[1], "--repository", str(served)]) == 0
    require_same_package(served)
    assert not (served / "triptych_models/old").exists()
    shim = "models/index/1/model.py"
    assert (served / shim).read_bytes() == (CHECKOUT_REPOSITORY / shim).read_bytes() != b""


def test_other_photos_give_another_reference(
    served: Path, placed: tuple[Path, list[str]], photos: list[Path], tmp_path: Path
) -> None:
    reference = (served / REFERENCE).read_bytes()
    for photo in photos[2:4]:
        shutil.copy(photo, tmp_path)
    assert main([*placed[1], "--repository", str(served), "--photos", str(tmp_path)]) == 0
    assert (served / REFERENCE).read_bytes() != reference
