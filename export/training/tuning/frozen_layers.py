"""Splits a trunk by depth into frozen layers and the last blocks, which are tuned.

Finds the blocks by execution order, not by name. To run only the tuned layers, the trunk processes a tiny image while a
hook replaces the output of the frozen layers with the cached activations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from export.errors import TrainingError

# Side of the tiny image that the frozen layers process while a hook replaces their output.
_TINY_PX = 32
_SAME_ATOL = 1e-4


@dataclass(frozen=True)
class PartlyFrozenTrunk:
    """A trunk with frozen first layers and tuned last layers.

    Attributes:
        module: the trunk.
        tuned: modules whose weights are trained.
        boundary: last frozen module; None if all layers are tuned.
        blocks: number of all blocks.
    """

    module: nn.Module
    tuned: tuple[nn.Module, ...]
    boundary: nn.Module | None
    blocks: int

    def freeze(self) -> None:
        """Freezes all but the tuned layers, and all batch norm statistics: small batches would make them worse."""
        self.module.eval().requires_grad_(False)
        for module in self.tuned:
            module.requires_grad_(True)

    def _whole(self, images: torch.Tensor) -> torch.Tensor:
        features: Any = self.module(images)
        assert isinstance(features, torch.Tensor)
        return features

    def run_frozen(self, images: torch.Tensor) -> torch.Tensor:
        """Activations of the last frozen layer for float32[N,3,S,S]; the images if all layers are tuned."""
        if self.boundary is None:
            return images
        try:
            with _hooked(self.boundary, _stop):
                self.module(images)
        except _BoundaryReached as activations:
            return activations.output
        raise AssertionError("the boundary was found by running it")

    def run_tuned(self, activations: torch.Tensor) -> torch.Tensor:
        """float32[N,F]: the features for activations from `run_frozen`."""
        if self.boundary is None:
            return self._whole(activations)
        tiny = activations.new_zeros((len(activations), 3, _TINY_PX, _TINY_PX))
        with _hooked(self.boundary, lambda output: activations):
            return self._whole(tiny)


class _BoundaryReached(Exception):
    """Stops a forward pass at the boundary."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.output = output


def _stop(output: torch.Tensor) -> None:
    raise _BoundaryReached(output.detach())


@contextmanager
def _hooked(module: nn.Module, change: Any) -> Iterator[None]:
    handle = module.register_forward_hook(lambda _module, _inputs, output: change(output))
    try:
        yield
    finally:
        handle.remove()


def freeze_layers(trunk: nn.Module, images: torch.Tensor, unfreeze: int | None) -> PartlyFrozenTrunk:
    """Splits a trunk so that its last `unfreeze` blocks are tuned.

    Args:
        trunk: float32[N,3,S,S] -> float32[N,F].
        images: example images, to find the order of the blocks and to check the split.
        unfreeze: number of blocks, at least 1; None is all.

    Raises:
        TrainingError: the trunk has fewer blocks, or cannot be split there.
    """
    units = _list_in_execution_order(trunk, images)
    blocks = [unit for unit in units if any(weight.ndim > 1 for weight in unit.parameters())]
    if unfreeze is None or unfreeze == len(blocks):
        return PartlyFrozenTrunk(trunk, tuple(units), None, len(blocks))
    if not 1 <= unfreeze < len(blocks):
        raise TrainingError(
            f"--unfreeze {unfreeze}: the network has {len(blocks)} blocks; expected 1 to {len(blocks)}, or all."
        )
    first = units.index(blocks[-unfreeze])
    cut = PartlyFrozenTrunk(trunk, tuple(units[first:]), units[first - 1], len(blocks))
    with torch.inference_mode():
        straight, again = trunk(images), cut.run_tuned(cut.run_frozen(images))
    if not torch.allclose(straight, again, atol=_SAME_ATOL, rtol=_SAME_ATOL):
        raise TrainingError(
            f"The network cannot be split before its last {unfreeze} blocks: they need more than one earlier output. "
            "Choose another number, or tune all layers with --unfreeze all."
        )
    return cut


def _list_in_execution_order(trunk: nn.Module, images: torch.Tensor) -> list[nn.Module]:
    """The outermost modules with weights (containers expanded), in the order in which they first run."""
    units = list(_units(trunk))
    order: list[nn.Module] = []

    def note(module: nn.Module, _inputs: Any, _output: Any) -> None:
        if module not in order:
            order.append(module)

    handles = [unit.register_forward_hook(note) for unit in units]
    try:
        with torch.inference_mode():
            trunk(images)
    finally:
        for handle in handles:
            handle.remove()
    return order


def _units(module: nn.Module) -> Iterator[nn.Module]:
    for child in module.children():
        if not any(True for _ in child.parameters()):
            continue
        if isinstance(child, nn.Sequential | nn.ModuleList) and any(True for _ in child.children()):
            yield from _units(child)
        else:
            yield child
