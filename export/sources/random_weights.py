"""Calibrates a network with random weights, whose outputs would otherwise be nearly equal for all photos."""

from __future__ import annotations

import torch
from torch import nn

SEED = 0

# Logit distance between a photo's own class and the mean photo. With 10, half of the photos are ties in some networks.
OWN_CLASS_LOGIT = 20.0


def settle(network: nn.Module, images: torch.Tensor) -> None:
    """Sets the running statistics of batch norm to those of `images`, as training would.

    Otherwise activations grow or vanish from layer to layer, and in float32 all photos give the same output.
    """
    norms = [layer for layer in network.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of the batch, not a moving average
        norm.train()
    with torch.no_grad():
        network(images)
    network.eval()


def spread_head(head: nn.Linear, features: torch.Tensor) -> None:
    """Makes each photo the prototype of one class: logits are inner products with the photos' centred features.

    The best class then differs between photos and changes with the pixels. The features are float32[M,F].
    """
    prototypes = features[: head.out_features]
    mean = prototypes.mean(dim=0)
    directions = prototypes - mean
    rows = OWN_CLASS_LOGIT * directions / directions.square().sum(dim=1, keepdim=True).clamp_min(1e-12)
    with torch.no_grad():
        head.weight.zero_()
        head.weight[: len(rows)] = rows
        head.bias = nn.Parameter(-head.weight @ mean)
