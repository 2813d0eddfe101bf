"""Cuts a trunk in two by depth: what stays as it is, and the last blocks, which are tuned.

Owns: finding the blocks by the order in which they run, whatever they are called, and going on from a cached output of
the frozen part: a hook puts it in place of what a tiny picture gives there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from export.training.errors import TrainingError

# Frozen layers run on a picture of this side when their output is put in place: next to nothing.
_TINY_PX = 32
_SAME_ATOL = 1e-4


@dataclass(frozen=True)
class Partition:
    """A trunk and where its tuned part begins.

    Attributes:
        tuned: the modules whose weights are learned.
        boundary: the module whose output enters them; None where everything is tuned.
        blocks: how many there are in all.
    """

    trunk: nn.Module
    tuned: tuple[nn.Module, ...]
    boundary: nn.Module | None
    blocks: int

    def freeze(self) -> None:
        """Only the tuned part learns. Batch norm keeps its statistics: batches of some dozen photos are poorer."""
        self.trunk.eval().requires_grad_(False)
        for module in self.tuned:
            module.requires_grad_(True)

    def _whole(self, images: torch.Tensor) -> torch.Tensor:
        features: Any = self.trunk(images)
        assert isinstance(features, torch.Tensor)
        return features

    def enter(self, images: torch.Tensor) -> torch.Tensor:
        """What enters the tuned part for float32[N,3,S,S]; the images themselves where everything is tuned."""
        if self.boundary is None:
            return images
        try:
            with _hooked(self.boundary, _stop):
                self.trunk(images)
        except _Entered as entered:
            return entered.output
        raise AssertionError("the boundary was found by running it")

    def leave(self, entered: torch.Tensor) -> torch.Tensor:
        """float32[N,F]: the features of what `enter` gave."""
        if self.boundary is None:
            return self._whole(entered)
        tiny = entered.new_zeros((len(entered), 3, _TINY_PX, _TINY_PX))
        with _hooked(self.boundary, lambda output: entered):
            return self._whole(tiny)


class _Entered(Exception):
    """Ends a run at the boundary: what comes after is not wanted."""

    def __init__(self, output: torch.Tensor) -> None:
        super().__init__()
        self.output = output


def _stop(output: torch.Tensor) -> None:
    raise _Entered(output.detach())


@contextmanager
def _hooked(module: nn.Module, change: Any) -> Iterator[None]:
    handle = module.register_forward_hook(lambda _module, _inputs, output: change(output))
    try:
        yield
    finally:
        handle.remove()


def partition(trunk: nn.Module, images: torch.Tensor, unfreeze: int | None) -> Partition:
    """The last `unfreeze` blocks of the trunk are tuned; None is all.

    Args:
        trunk: float32[N,3,S,S] -> float32[N,F].
        images: some, to see the order of the blocks on and to prove the cut.
        unfreeze: at least 1.

    Raises:
        TrainingError: there are not so many blocks, or the trunk cannot be entered there.
    """
    units = _in_running_order(trunk, images)
    blocks = [unit for unit in units if any(weight.ndim > 1 for weight in unit.parameters())]
    if unfreeze is None or unfreeze == len(blocks):
        return Partition(trunk, tuple(units), None, len(blocks))
    if not 1 <= unfreeze < len(blocks):
        raise TrainingError(
            f"--unfreeze {unfreeze}: the network has {len(blocks)} blocks; give 1 to {len(blocks)}, or all."
        )
    first = units.index(blocks[-unfreeze])
    cut = Partition(trunk, tuple(units[first:]), units[first - 1], len(blocks))
    with torch.inference_mode():
        straight, again = trunk(images), cut.leave(cut.enter(images))
    if not torch.allclose(straight, again, atol=_SAME_ATOL, rtol=_SAME_ATOL):
        raise TrainingError(
            f"The network cannot be entered before its last {unfreeze} blocks: they read more than one output. "
            "Choose another number, or tune everything with --unfreeze all."
        )
    return cut


def _in_running_order(trunk: nn.Module, images: torch.Tensor) -> list[nn.Module]:
    """The outermost modules with weights, lists of modules opened, in the order in which they first run."""
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
