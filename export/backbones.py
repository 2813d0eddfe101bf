"""What is exported: a classification network cut where its pooled features are, and how it was trained to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from export.labels import SEPARATOR

if TYPE_CHECKING:
    from torch import nn

DEFAULT_MODEL = "efficientnet-lite0"

# ImageNet's mean and deviation, on the 0-255 scale of the pixels: what torchvision's weights and most others expect.
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclass(frozen=True)
class PhotoTransform:
    """How the backbone was trained to see: short side to `side_px / crop_ratio`, then the centre `side_px` squared."""

    side_px: int
    crop_ratio: float
    interpolation: str

    @property
    def resize_px(self) -> int:
        return round(self.side_px / self.crop_ratio)


@dataclass(frozen=True)
class Preset:
    """The way from a photo to the numbers a network takes.

    Attributes:
        mean, std: per channel, on the 0-255 scale of the pixels.
    """

    transform: PhotoTransform
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD


@dataclass(frozen=True)
class Backbone:
    """A classification network in two parts.

    Attributes:
        trunk: float32[N,3,S,S], normalised -> float32[N,F], pooled features.
        head: float32[N,F] -> float32[N,C], logits.
        labels: a line a class, as in labels.txt.
        is_random: the weights were drawn, not trained.
    """

    name: str
    trunk: nn.Module
    head: nn.Linear
    preset: Preset
    labels: tuple[str, ...]
    licence: str
    source: str
    is_random: bool = False

    @property
    def transform(self) -> PhotoTransform:
        return self.preset.transform

    @property
    def retail_indices(self) -> list[int]:
        """The classes a shop sells: those whose label carries a category."""
        return [index for index, line in enumerate(self.labels) if SEPARATOR in line]
