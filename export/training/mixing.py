"""Two photos made one while a backbone is tuned: blended (mixup), or a part of one put into the other (CutMix)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Mixed:
    """Attributes:
    entered: as what came in.
    partner: int64[N], whom each photo was mixed with.
    share: of its own in each photo; 1 is unmixed.
    """

    entered: torch.Tensor
    partner: torch.Tensor
    share: float


def mix(entered: torch.Tensor, mixup: float, cutmix: float, random: np.random.Generator) -> Mixed:
    """A batch mixed in one of the two ways, by lot where both have a strength.

    Args:
        entered: float32[N,...], pictures or what a frozen part made of them.
        mixup: strength, 0 is none. Source: Zhang et al., ICLR 2018.
        cutmix: strength, 0 is none; only where the last two axes are height and width. Source: Yun et al., ICCV 2019.
        random: decides everything.
    """
    partner = torch.from_numpy(random.permutation(len(entered)))
    ways = [way for way, strength in ((_blend, mixup), (_cut, cutmix)) if strength]
    if not ways:
        return Mixed(entered, partner, 1.0)
    way = ways[int(random.integers(len(ways)))]
    strength = cutmix if way is _cut else mixup
    mixed, share = way(entered, entered[partner], float(random.beta(strength, strength)), random)
    return Mixed(mixed, partner, share)


def has_rows_and_columns(shape: tuple[int, ...]) -> bool:
    """Whether [N,C,H,W] is what enters, so that a box of it is a part of the picture; transformers have [N,H,W,C]."""
    return len(shape) == 4 and shape[2] == shape[3]


def _blend(
    entered: torch.Tensor, other: torch.Tensor, share: float, _random: np.random.Generator
) -> tuple[torch.Tensor, float]:
    return share * entered + (1 - share) * other, share


def _cut(
    entered: torch.Tensor, other: torch.Tensor, share: float, random: np.random.Generator
) -> tuple[torch.Tensor, float]:
    """A box of about 1 - share of the area comes from the other; the share is what is left in truth."""
    height, width = entered.shape[2:]
    box = [round(side * (1 - share) ** 0.5) for side in (height, width)]
    top, left = (int(random.integers(side - part + 1)) for side, part in zip((height, width), box, strict=True))
    rows, columns = slice(top, top + box[0]), slice(left, left + box[1])
    mixed = entered.clone()
    mixed[:, :, rows, columns] = other[:, :, rows, columns]
    return mixed, 1 - box[0] * box[1] / (height * width)
