"""A backbone: a classification network as trunk and head, with its preprocessing and trained heads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from export.arrays import Pixels
from export.repository.configs import CATEGORY, Shape
from export.repository.labels import SEPARATOR
from triptych_models.recognition.transform import Transform

if TYPE_CHECKING:
    import torch
    from torch import nn

DEFAULT_MODEL = "efficientnet-lite0"

# ImageNet's mean and deviation on the 0-255 scale of the pixels; torchvision's weights and most others expect them.
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclass(frozen=True)
class Preset:
    """Preprocessing: from a photo to the input of a network.

    Attributes:
        mean, std: per channel, on the 0-255 scale of the pixels.
    """

    transform: Transform
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def normalise(self, pixels: Pixels) -> torch.Tensor:
        """uint8[N,S,S,3] -> float32[N,3,S,S], the input of the network."""
        import torch

        mean, std = (torch.tensor(channel).reshape(1, 3, 1, 1) for channel in (self.mean, self.std))
        return (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() - mean) / std


@dataclass(frozen=True)
class AttributeHead:
    """A trained head for one attribute.

    Attributes:
        linear: float32[N,F] -> float32[N,C], logits.
        labels: one line per class.
    """

    linear: nn.Linear
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Backbone:
    """A classification network as trunk and head, and further heads trained on its features.

    Attributes:
        trunk: float32[N,3,S,S], normalised -> float32[N,F], pooled features.
        head: float32[N,F] -> float32[N,C], logits; also computes `retail_score`, even if a trained head gives the
            categories.
        labels: one line per class of `head`.
        is_random: the weights are random, not trained.
        heads: attribute -> head; a head for `category` replaces `head` for `category_scores`.
    """

    name: str
    trunk: nn.Module
    head: nn.Linear
    preset: Preset
    labels: tuple[str, ...]
    licence: str
    source: str
    is_random: bool = False
    heads: Mapping[str, AttributeHead] = field(default_factory=dict)

    @property
    def transform(self) -> Transform:
        return self.preset.transform

    @property
    def shape(self) -> Shape:
        """The sizes of the served tensors."""
        heads = {attribute: len(head.labels) for attribute, head in self.further_heads.items()}
        return Shape(self.transform.side_px, self.head.in_features, len(self.category_labels), heads)

    @property
    def labels_by_attribute(self) -> dict[str, tuple[str, ...]]:
        """The labels of each scores output, `category` first."""
        return {CATEGORY: self.labels} | {attribute: head.labels for attribute, head in self.heads.items()}

    @property
    def category_labels(self) -> tuple[str, ...]:
        """The labels of `category_scores`."""
        return self.labels_by_attribute[CATEGORY]

    @property
    def further_heads(self) -> dict[str, AttributeHead]:
        """All heads except `category`; each adds one output, in this order."""
        return {attribute: head for attribute, head in self.heads.items() if attribute != CATEGORY}

    @property
    def retail_indices(self) -> list[int]:
        """Indices of retail products: classes whose label has a retail category."""
        return [index for index, line in enumerate(self.labels) if SEPARATOR in line]
