"""Makes a network of random weights worth comparing: untrained, it answers nearly the same for every photo."""

from __future__ import annotations

import torch
from torch import nn

SEED = 0

# Distance in logits between a photo's own class and the mean photo. At 10 half of some networks' photos are ties.
OWN_CLASS_LOGIT = 20.0


def settle(network: nn.Module, images: torch.Tensor) -> None:
    """Sets batch norm's running figures to those of `images`, as training would.

    Without it activations grow or vanish layer by layer, and float32 no longer tells one photo from another.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over what is seen, not a moving one
        norm.train()
    with torch.no_grad():
        network(images)
    network.eval()


def spread_head(head: nn.Linear, features: torch.Tensor) -> None:
    """Makes each photo the prototype of one class: logits are inner products with the photos' centred features.

    So the top class tells one photo from another, and changes when the pixels do.

    Args:
        head: overwritten.
        features: float32[M,F], of the photos.
    """
    prototypes = features[: head.out_features]
    mean = prototypes.mean(dim=0)
    directions = prototypes - mean
    rows = OWN_CLASS_LOGIT * directions / directions.square().sum(dim=1, keepdim=True).clamp_min(1e-12)
    with torch.no_grad():
        head.weight.zero_()
        head.weight[: len(rows)] = rows
        head.bias = nn.Parameter(-head.weight @ mean)
