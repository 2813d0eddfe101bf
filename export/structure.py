"""Cuts a classification network in two where its logits are made: a trunk that ends in features, and a linear head.

Owns: finding that place by what the network does, whatever it is called. Must not know any architecture by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from export.errors import BackboneError

# Two orders of summation in float32, relative to the largest logit; the 58 of 60 networks that are cut stay within it.
LOGITS_RTOL = 1e-4


@dataclass(frozen=True)
class Cut:
    """A network in two parts; `head(trunk(images))` was seen to equal the network's answer.

    Attributes:
        trunk: float32[N,3,S,S], normalised -> float32[N,F].
        head: float32[N,F] -> float32[N,C], logits.
        head_name: the layer's name inside the network, as in its state dict.
    """

    trunk: nn.Module
    head: nn.Linear
    head_name: str


def run_network(network: nn.Module, images: torch.Tensor, name: str) -> torch.Tensor:
    """The network's logits, float32[N,C].

    Raises:
        BackboneError: it does not take such images, or does not answer one vector an image.
    """
    try:
        with torch.inference_mode():
            logits: Any = network(images)
    except Exception as error:  # a network raises what it likes; whatever it is, these images do not fit
        side_px = images.shape[-1]
        raise BackboneError(
            f"{name} does not take images of {side_px} x {side_px} px: {error}. Choose another --image-side."
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(images):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise BackboneError(
            f"{name} answers {got} for {len(images)} images; expected logits of shape ({len(images)}, classes). "
            "Wrap it in a module that returns the logits alone."
        )
    return logits


def find_head(network: nn.Module, images: torch.Tensor, name: str) -> str:
    """Name of the layer that makes the logits: the last linear layer or 1 x 1 convolution that runs.

    Raises:
        BackboneError: as `run_network`; or there is no such layer, or it runs more than once an image.
    """
    order: list[str] = []
    layers = {layer_name: layer for layer_name, layer in network.named_modules() if _is_linear(layer)}
    hooks = [
        layer.register_forward_hook(lambda *_, layer_name=layer_name: order.append(layer_name))
        for layer_name, layer in layers.items()
    ]
    try:
        run_network(network, images, name)
    finally:
        for hook in hooks:
            hook.remove()
    if not order:
        raise BackboneError(f"{name} has no linear layer that could be its head; expected a classification network.")
    if order.count(order[-1]) > 1:
        raise BackboneError(
            f"{name}: the last linear layer, {order[-1]}, runs {order.count(order[-1])} times an image."
        )
    return order[-1]


def cut_at_head(network: nn.Module, images: torch.Tensor, name: str) -> Cut:
    """Takes the head out of the network (which becomes the trunk) and proves on `images` that nothing was lost.

    A convolution before the pooling becomes a linear layer after it: the two commute unless something non-linear stands
    between, which the proof would show.

    Raises:
        BackboneError: as `find_head`; or the logits are not a linear function of what enters that layer.
    """
    head_name = find_head(network, images, name)
    logits = run_network(network, images, name)
    head = _as_linear(network.get_submodule(head_name))
    network.set_submodule(head_name, nn.Identity())
    features = run_network(network, images, name)
    if features.shape[1] != head.in_features:
        raise BackboneError(
            f"{name}: {head.in_features} numbers enter the last linear layer, {head_name}, but without it the network "
            f"answers {features.shape[1]}: features cannot be cut off there."
        )
    with torch.inference_mode():
        again = head(features)
    scale = float(logits.abs().max()) or 1.0
    difference = float((again - logits).abs().max()) / scale if again.shape == logits.shape else float("inf")
    if not difference <= LOGITS_RTOL:
        raise BackboneError(
            f"{name}: its answer is not what its last linear layer, {head_name}, makes of pooled features (relative "
            f"difference {difference:.2g}, limit {LOGITS_RTOL:g}); something non-linear comes after it. "
            "Choose a network that ends in a linear layer, or wrap it so that it returns the logits."
        )
    return Cut(network, head, head_name)


def _is_linear(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        return layer.kernel_size == (1, 1) and layer.groups == 1 and layer.stride == (1, 1)
    return isinstance(layer, nn.Linear)


def _as_linear(layer: nn.Module) -> nn.Linear:
    if isinstance(layer, nn.Linear):
        return layer
    assert isinstance(layer, nn.Conv2d)
    linear = nn.Linear(layer.in_channels, layer.out_channels, bias=layer.bias is not None)
    linear.weight = nn.Parameter(layer.weight.detach().flatten(1))
    if layer.bias is not None:
        linear.bias = nn.Parameter(layer.bias.detach())
    return linear.eval()
