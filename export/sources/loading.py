"""Loads the chosen backbone: by name, from a checkpoint, from the user's own module, or from an ONNX file."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.errors import BackboneError
from export.repository.labels import label_lines, read_label_lines, read_retail_categories
from export.repository.manifest import sha256
from export.sources.architectures import (
    IMAGENET_CLASSES,
    Architecture,
    Weights,
    default_weights_file,
    find_architecture,
    imagenet_class_names,
    list_torchvision,
    recognise,
)
from export.sources.backbones import DEFAULT_MODEL, Backbone, Preset
from export.sources.checkpoints import count_classes, load_state, read_state
from triptych_models.recognition.transform import Transform

if TYPE_CHECKING:
    import torch
    from torch import nn

    from export.sources.network_cut import Cut

OWN = "the user's own; its licence is not known to this program"


@dataclass(frozen=True)
class BackboneChoice:
    """The backbone to load; at most one of `checkpoint`, `module` and `onnx` is set.

    Attributes:
        model: name of the architecture; None is the default, or the one detected from the checkpoint.
        weights: "default", "none", a name of torchvision's weights, or a file.
        labels: file with one line per class; None is ImageNet-1k.
        side_px, crop_ratio, interpolation, mean, std: override the preprocessing of the source; mean and std are on the
            0-1 scale.
    """

    model: str | None = None
    checkpoint: Path | None = None
    module: str | None = None
    onnx: Path | None = None
    weights: str = "default"
    labels: Path | None = None
    side_px: int | None = None
    crop_ratio: float | None = None
    interpolation: str | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def fingerprint(self) -> dict[str, Any] | None:
        """All inputs that determine the backbone; None for a module, which may import anything."""
        if self.module is not None:
            return None
        files = {file: Path(file) for file in (str(self.checkpoint), str(self.onnx), self.weights, str(self.labels))}
        if self.model in (None, DEFAULT_MODEL) and self.weights == "default" and not (self.checkpoint or self.onnx):
            files["default"] = default_weights_file()
        digests = {name: sha256(file.read_bytes()) for name, file in files.items() if file.is_file()}
        return {"choice": {name: str(value) for name, value in asdict(self).items()}, "digests": digests}

    def preset(self, base: Preset) -> Preset:
        """The preprocessing of the source, with the overrides of the user."""
        transform = Transform(
            self.side_px or base.transform.side_px,
            self.crop_ratio or base.transform.crop_ratio,
            self.interpolation or base.transform.interpolation,
        )
        mean = tuple(255 * value for value in self.mean) if self.mean else base.mean
        std = tuple(255 * value for value in self.std) if self.std else base.std
        return Preset(transform, mean, std)


def load_backbone(choice: BackboneChoice, photos: Sequence[Path]) -> Backbone:
    """Loads the chosen backbone; `photos` serve to split the network and to calibrate random weights.

    Raises:
        BackboneError: the backbone cannot be used; the message has the reason and the next step.
    """
    if choice.onnx is not None:
        from export.sources.onnx_trunk import load_onnx

        preset = choice.preset(_GENERIC)
        trunk, head = load_onnx(
            choice.onnx, lambda side_px: read_images(photos[:2], _sided(preset, side_px)), choice.side_px
        )
        preset = _sided(preset, trunk.side_px or preset.transform.side_px)
        labels = _labels(choice, head.out_features, choice.onnx.name)
        return Backbone(choice.onnx.stem, trunk, head, preset, labels, OWN, f"ONNX file {choice.onnx.name}")
    if choice.module is not None:
        return _from_module(choice, photos)
    return _from_architecture(choice, photos)


_GENERIC = Preset(Transform(224, 0.875, "bilinear"))


def _sided(preset: Preset, side_px: int) -> Preset:
    return replace(preset, transform=replace(preset.transform, side_px=side_px))


def _from_architecture(choice: BackboneChoice, photos: Sequence[Path]) -> Backbone:
    weights = _read_weights(choice)
    name = choice.model or DEFAULT_MODEL
    if choice.checkpoint is not None:
        weights = Weights(read_state(choice.checkpoint), f"file {choice.checkpoint.name}", OWN)
        if choice.model is None:
            name = recognise(weights.state, [DEFAULT_MODEL, *list_torchvision()], choice.checkpoint.name)
    architecture = find_architecture(name)
    preset = choice.preset(architecture.preset)
    if choice.weights != "none" and weights is None:
        weights = architecture.fetch(choice.weights)
    if weights is None:
        return _random(choice, architecture, preset, photos)
    cut = cut_architecture(architecture, weights.state, weights.source, read_images(photos[:2], preset))
    labels = _labels(choice, cut.head.out_features, weights.source)
    return Backbone(name, cut.trunk, cut.head, preset, labels, weights.licence, weights.source)


def cut_architecture(
    architecture: Architecture, state: Mapping[str, torch.Tensor], what: str, images: torch.Tensor
) -> Cut:
    """The network with the weights `state` of `what`, and with as many classes as they have, as trunk and head.

    Raises:
        BackboneError: the weights do not fit, or the network cannot be split.
    """
    from export.sources.network_cut import cut_at_head, find_head

    network = architecture.build(IMAGENET_CLASSES)
    classes = count_classes(network, state, find_head(network, images, architecture.name), what)
    if classes != IMAGENET_CLASSES:
        network = architecture.build(classes)
    load_state(network, state, what)
    return cut_at_head(network, images, architecture.name)


def _read_weights(choice: BackboneChoice) -> Weights | None:
    file = Path(choice.weights)
    if choice.weights in ("default", "none") or not (file.is_file() or file.suffix):
        return None
    return Weights(read_state(file), f"file {file.name}", OWN)


def _random(choice: BackboneChoice, architecture: Architecture, preset: Preset, photos: Sequence[Path]) -> Backbone:
    import torch

    from export.sources.network_cut import cut_at_head, run_network
    from export.sources.random_weights import SEED, settle, spread_head

    classes = len(read_label_lines(choice.labels)) if choice.labels else IMAGENET_CLASSES
    torch.manual_seed(SEED)
    network = architecture.build(classes)
    images = read_images(photos, preset)
    run_network(network, images[:2], architecture.name)
    settle(network, images)
    cut = cut_at_head(network, images[:2], architecture.name)
    spread_head(cut.head, run_network(cut.trunk, images, architecture.name).clone())
    return Backbone(
        architecture.name,
        cut.trunk,
        cut.head,
        preset,
        _labels(choice, classes, "random weights"),
        "none: random weights",
        f"random weights, seed {SEED}",
        is_random=True,
    )


def _from_module(choice: BackboneChoice, photos: Sequence[Path]) -> Backbone:
    from export.sources.network_cut import cut_at_head

    assert choice.module is not None
    network = _call_factory(choice.module)
    weights = _read_weights(choice)
    if weights is not None:
        load_state(network, weights.state, weights.source)
    preset = choice.preset(_GENERIC)
    cut = cut_at_head(network.eval(), read_images(photos[:2], preset), choice.module)
    labels = _labels(choice, cut.head.out_features, choice.module)
    source = f"{choice.module}, {weights.source if weights else 'weights from the factory'}"
    return Backbone(choice.module.rpartition(":")[2], cut.trunk, cut.head, preset, labels, OWN, source)


def _call_factory(wanted: str) -> nn.Module:
    from torch import nn

    module_name, separator, attribute = wanted.partition(":")
    if not separator:
        raise BackboneError(f"Expected --module module:factory, as in shop.networks:build; got {wanted!r}.")
    try:
        # With `python -m export`, the current folder is first in the module search path.
        factory = getattr(importlib.import_module(module_name), attribute)
        network = factory()
    except Exception as error:  # the user's code may raise any error
        raise BackboneError(f"{wanted} failed: {type(error).__name__}: {error}.") from error
    if not isinstance(network, nn.Module):
        raise BackboneError(f"{wanted}() returned a {type(network).__name__}; expected a torch.nn.Module.")
    return network


def _labels(choice: BackboneChoice, classes: int, what: str) -> tuple[str, ...]:
    if choice.labels is None:
        if classes != IMAGENET_CLASSES:
            raise BackboneError(
                f"{what} has {classes} classes, ImageNet-1k has {IMAGENET_CLASSES}. "
                "Pass your class names with --labels FILE, one per line."
            )
        return tuple(label_lines(imagenet_class_names(), read_retail_categories()))
    lines = read_label_lines(choice.labels)
    if len(lines) != classes:
        raise BackboneError(
            f"{what} has {classes} classes, {choice.labels} has {len(lines)} lines. "
            "Expected one line per class, in the order of training."
        )
    return tuple(lines)


def read_images(photos: Sequence[Path], preset: Preset) -> torch.Tensor:
    """float32[N,3,S,S], normalised: the photos as input of the network."""
    from export.verification.reference import read_pixels

    return preset.normalise(read_pixels(photos, preset.transform))
