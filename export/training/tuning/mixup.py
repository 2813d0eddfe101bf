"""Mixup and CutMix: combines pairs of photos during fine-tuning, by blending or by pasting a box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class MixedBatch:
    """A batch after mixing.

    Attributes:
        inputs: same shape as the original inputs.
        partner: int64[N], row that each photo was mixed with.
        share: share of the original photo; 1 is unmixed.
    """

    inputs: torch.Tensor
    partner: torch.Tensor
    share: float


def mix_batch(inputs: torch.Tensor, mixup: float, cutmix: float, random: np.random.Generator) -> MixedBatch:
    """Applies mixup or CutMix to a batch; chooses at random if both are enabled.

    Args:
        inputs: float32[N,...], images or activations.
        mixup: strength; 0 disables it. Source: Zhang et al., ICLR 2018.
        cutmix: strength; 0 disables it; needs height and width as last axes. Source: Yun et al., ICCV 2019.
        random: random generator of all choices.
    """
    partner = torch.from_numpy(random.permutation(len(inputs)))
    ways = [way for way, strength in ((_mixup, mixup), (_cutmix, cutmix)) if strength]
    if not ways:
        return MixedBatch(inputs, partner, 1.0)
    way = ways[int(random.integers(len(ways)))]
    strength = cutmix if way is _cutmix else mixup
    mixed, share = way(inputs, inputs[partner], float(random.beta(strength, strength)), random)
    return MixedBatch(mixed, partner, share)


def has_rows_and_columns(shape: tuple[int, ...]) -> bool:
    """Whether the shape is [N,C,H,W], as CutMix needs; transformers have [N,H,W,C]."""
    return len(shape) == 4 and shape[2] == shape[3]


def _mixup(
    inputs: torch.Tensor, other: torch.Tensor, share: float, _random: np.random.Generator
) -> tuple[torch.Tensor, float]:
    return share * inputs + (1 - share) * other, share


def _cutmix(
    inputs: torch.Tensor, other: torch.Tensor, share: float, random: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """Pastes a box of about 1 - share of the area; returns the exact share that is left."""
    height, width = inputs.shape[2:]
    box = [round(side * (1 - share) ** 0.5) for side in (height, width)]
    top, left = (int(random.integers(side - part + 1)) for side, part in zip((height, width), box, strict=True))
    rows, columns = slice(top, top + box[0]), slice(left, left + box[1])
    mixed = inputs.clone()
    mixed[:, :, rows, columns] = other[:, :, rows, columns]
    return mixed, 1 - box[0] * box[1] / (height * width)
