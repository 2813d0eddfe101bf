"""Splits a classification network into a trunk, which outputs features, and a linear head, which outputs logits.

Finds the head by running the network, not by layer names. Must not depend on the name of any architecture.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from export.arrays import Floats
from export.errors import BackboneError

# Float32 rounding of two summation orders, relative to the largest logit; 58 of 60 networks stay within this limit.
LOGITS_RTOL = 1e-4


@dataclass(frozen=True)
class Cut:
    """A network in two parts; `head(trunk(images))` was checked to equal the output of the network.

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
        BackboneError: the network does not accept such images, or does not return one vector per image.
    """
    try:
        with torch.inference_mode():
            logits: Any = network(images)
    except Exception as error:  # a network may raise any error; all mean that it does not accept these images
        side_px = images.shape[-1]
        raise BackboneError(
            f"{name} does not accept images of {side_px} x {side_px} px: {error}. Choose another --image-side."
        ) from error
    if not isinstance(logits, torch.Tensor) or logits.ndim != 2 or len(logits) != len(images):
        got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise BackboneError(
            f"{name} returns {got} for {len(images)} images; expected logits of shape ({len(images)}, classes). "
            "Wrap it in a module that returns only the logits."
        )
    return logits


def find_head(network: nn.Module, images: torch.Tensor, name: str) -> str:
    """Name of the layer that outputs the logits: the last linear layer or 1 x 1 convolution that runs.

    Raises:
        BackboneError: as `run_network`; or there is no such layer, or it runs more than once per image.
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
        raise BackboneError(
            f"{name} has no linear layer or 1 x 1 convolution as head; expected a classification network."
        )
    if order.count(order[-1]) > 1:
        raise BackboneError(
            f"{name}: the last linear layer, {order[-1]}, runs {order.count(order[-1])} times per image; expected once."
        )
    return order[-1]


def cut_at_head(network: nn.Module, images: torch.Tensor, name: str) -> Cut:
    """Removes the head from the network, which becomes the trunk, and checks on `images` that the outputs are equal.

    A convolution before the pooling becomes a linear layer after it: the two commute unless a non-linear layer is
    between them, which the check detects.

    Raises:
        BackboneError: as `find_head`; or the logits are not a linear function of the input of that layer.
    """
    head_name = find_head(network, images, name)
    logits = run_network(network, images, name)
    head = _as_linear(network.get_submodule(head_name))
    network.set_submodule(head_name, nn.Identity())
    features = run_network(network, images, name)
    if features.shape[1] != head.in_features:
        raise BackboneError(
            f"{name}: the last linear layer, {head_name}, takes {head.in_features} inputs, but the network without it "
            f"returns {features.shape[1]}: the network cannot be split there."
        )
    with torch.inference_mode():
        again = head(features)
    scale = float(logits.abs().max()) or 1.0
    difference = float((again - logits).abs().max()) / scale if again.shape == logits.shape else float("inf")
    if not difference <= LOGITS_RTOL:
        raise BackboneError(
            f"{name}: its output differs from its last linear layer, {head_name}, applied to the pooled features "
            f"(relative difference {difference:.2g}, limit {LOGITS_RTOL:g}); a non-linear layer follows. Choose a "
            "network that ends in a linear layer, or wrap it so that it returns the logits."
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
    bias = None if layer.bias is None else layer.bias.detach().numpy()
    return make_linear(layer.weight.detach().flatten(1).numpy(), bias)


def make_linear(weight: Floats, bias: Floats | None) -> nn.Linear:
    """A frozen linear layer with the weight float32[C,F] and the bias float32[C]; None is zeros."""
    linear = nn.Linear(weight.shape[1], weight.shape[0]).requires_grad_(False)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(weight))
        linear.bias.copy_(torch.tensor(bias).flatten() if bias is not None else torch.zeros(len(weight)))
    return linear.eval()
