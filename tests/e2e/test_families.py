"""A member of each family of torchvision: placed with random weights, served by the real server, compared.

What random weights can show: that the graph computes what torch computes, and that the way from the file to the pixels
is torchvision's for that network's own side, crop and interpolation. What they cannot: accuracy. How they are compared:
`export.verification.photo_parity`, "untrained filters".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from export.cli.main import main
from export.graphs.building import torch_predictor
from export.sources.loading import BackboneChoice, load_backbone
from export.verification.photo_parity import Predictor, compare, encode_all, require_parity
from ops.server.local_server import LocalServer
from ops.settings import Settings

# In every run: the two that are quick.
QUICK = {"resnet18": 512, "mobilenet_v3_small": 1024}
# With `--families`: the rest, which take a minute or two each.
REST = {
    "swin_t": 768,
    "vgg11": 4096,
    "inception_v3": 2048,
    "densenet121": 1024,
    "efficientnet_b0": 1280,
    "convnext_tiny": 768,
    "vit_b_32": 768,
}


@pytest.mark.timeout(900)  # the largest, on two cores that have other work too
@pytest.mark.parametrize(
    ("name", "features"),
    [*QUICK.items(), *(pytest.param(name, size, marks=pytest.mark.families) for name, size in REST.items())],
)
def test_family_is_placed_served_and_equal_to_torch(
    name: str,
    features: int,
    photos: list[Path],
    answers_of: Callable[[LocalServer], Predictor],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    repository = tmp_path / "repository"
    assert main(["build", "--model", name, "--weights", "none", "--repository", str(repository), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["manifest"]["shape"] == {
        "side_px": 299 if name == "inception_v3" else 224,
        "features": features,
        "classes": 1000,
        "heads": {},
    }
    backbone = load_backbone(BackboneChoice(model=name, weights="none"), photos)
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, repository=repository)) as server:
        parity = compare(
            encode_all(photos, per_encoding=1), backbone.transform, torch_predictor(backbone), answers_of(server)
        )
    print(f"\n{name}: {report['seconds']:.0f} s, {parity}")
    assert parity.photos == 38
    require_parity(parity, min_cosine=0.995, is_random=True)
