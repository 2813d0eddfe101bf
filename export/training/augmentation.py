"""What a photo is changed by while a backbone is tuned on it: torchvision's v2 transforms."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torchvision.transforms import v2


def augmentation(side_px: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """uint8[3,S',S'] -> uint8[3,S,S]: a random part, mirrored or not, in other light, distorted a little.

    The part is at least 0.4 of the area: what a shop sells fills its photo. RandAugment is mild (one operation of
    magnitude 5 of 30): a colour that is turned round is another colour.
    """
    compose: Callable[[torch.Tensor], torch.Tensor] = v2.Compose(
        [
            v2.RandomResizedCrop(side_px, scale=(0.4, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.2),
            v2.RandAugment(num_ops=1, magnitude=5),
        ]
    )
    return compose
