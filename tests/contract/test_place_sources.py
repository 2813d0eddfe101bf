"""A network of the user's own, as a module, a checkpoint and an ONNX file: the same answers placed."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from urllib.error import URLError

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest
import torch

from export.__main__ import main
from export.architectures import find_architecture
from export.contract import Shape, read_configs, shape_of
from export.errors import WeightsUnavailable
from export.placement import read_manifest
from export.sources import Choice, load

Floats = npt.NDArray[np.float32]

NETWORK = """
    import torch
    from torch import nn

    class Shop(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 8, 7, stride=4), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU())
            self.classes = nn.Linear(16, 5)

        def forward(self, images):
            return self.classes(self.body(images).mean(dim=(2, 3)))

    def build():
        torch.manual_seed(0)
        return Shop()
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the user's module and labels, two of which are sold."""
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop_network.py").write_text(textwrap.dedent(NETWORK))
    (folder / "labels.txt").write_text("Shoes / boot\nShoes / sandal\ncat\ndog\nsky\n")
    return folder


@pytest.fixture
def module(shop: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """The folder as where the command is run."""
    monkeypatch.chdir(shop)
    yield shop
    sys.modules.pop("shop_network", None)


def placed(arguments: list[str], repository: Path) -> Path:
    command = ["place", "--repository", str(repository), "--image-side", "64", "--labels", "labels.txt", *arguments]
    assert main(command) == 0
    return repository


def features(repository: Path) -> Floats:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    session = ort.InferenceSession(str(repository / "embedder/1/model.onnx"))
    answer: Floats = session.run(["features"], {"pixels": pixels})[0]
    return answer


@pytest.mark.parametrize(("opset", "softmax"), [(17, False), (18, False), (18, True)])
def test_onnx_file_is_placed_as_the_module_it_came_from(
    module: Path, tmp_path: Path, photos: list[Path], opset: int, softmax: bool
) -> None:
    from_module = placed(["--module", "shop_network:build"], tmp_path / "module")
    network = sys.modules["shop_network"].build().eval()
    whole = torch.nn.Sequential(network, torch.nn.Softmax(1)).eval() if softmax else network
    torch.onnx.export(
        whole,
        (torch.zeros(2, 3, 64, 64),),
        str(tmp_path / "shop.onnx"),
        dynamic_shapes={("input" if softmax else "images"): {0: torch.export.Dim("n")}},
        opset_version=opset,
        verbose=False,
        dynamo=True,
    )
    from_onnx = placed(["--onnx", str(tmp_path / "shop.onnx")], tmp_path / "onnx")
    np.testing.assert_allclose(features(from_onnx), features(from_module), atol=1e-6)
    for repository in (from_module, from_onnx):
        # A repository of its own says its own sizes, without a profile.
        assert shape_of(read_configs(repository)) == Shape(64, 16, 5)
        assert (repository / "classifier/labels.txt").read_text().splitlines()[1] == "Shoes / sandal"
        manifest = read_manifest(repository)
        assert manifest is not None
        assert manifest["photo_parity"]["encodings"] == 38


def test_checkpoint_is_recognised_by_its_tensors(tmp_path: Path, photos: list[Path]) -> None:
    torch.manual_seed(0)
    state = find_architecture("shufflenet_v2_x0_5").build(3).state_dict()
    torch.save({"model": {f"module.{name}": tensor for name, tensor in state.items()}}, tmp_path / "best.pth")
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    backbone = load(Choice(checkpoint=tmp_path / "best.pth", labels=tmp_path / "labels.txt"), photos)
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


def test_second_run_with_nothing_changed_places_nothing(tmp_path: Path, photos: list[Path]) -> None:
    served = tmp_path / "served"
    arguments = ["place", "--model", "mobilenet_v3_small", "--weights", "none", "--repository", str(served)]
    assert main(arguments) == 0
    before = {path: path.stat().st_mtime_ns for path in served.rglob("*")}
    assert main(arguments) == 0
    assert {path: path.stat().st_mtime_ns for path in served.rglob("*")} == before


def test_other_photos_give_another_reference(tmp_path: Path, photos: list[Path]) -> None:
    served, own = tmp_path / "served", tmp_path / "own"
    own.mkdir()
    for photo in photos[:5]:
        (own / photo.name).write_bytes(photo.read_bytes())
    arguments = ["place", "--model", "mobilenet_v3_small", "--weights", "none", "--repository", str(served)]
    assert main(arguments) == 0
    reference = (served / "embedder/1/reference.json").read_bytes()
    assert main([*arguments, "--photos", str(own)]) == 0
    assert (served / "embedder/1/reference.json").read_bytes() != reference
