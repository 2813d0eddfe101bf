"""The backbone as a torch network that can be tuned, and what was tuned as files that are placed.

Owns: building the network that is placed, proving that it is that one, its state dict with the head it had, and the eye
that sees with the tuned weights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors.torch import save
from torch import nn

from export import graphs
from export.architectures import IMAGENET_CLASSES, find_architecture
from export.backbones import DEFAULT_MODEL, Backbone, Preset
from export.checkpoints import count_classes, load_state, read_state
from export.errors import BackboneError
from export.reference import read_pixels
from export.structure import cut_at_head, find_head
from export.training.eye import Eye
from export.training.probe import make_probe, refuse_other_backbone
from export.verification import open_session


@dataclass(frozen=True)
class Network:
    """A network that can be tuned.

    Attributes:
        trunk: float32[N,3,S,S], normalised -> float32[N,F].
        head: its own, which says what a shop sells; it is not tuned.
        head_state: the head's tensors by their names in the state dict.
    """

    name: str
    trunk: nn.Module
    head: nn.Linear
    head_state: dict[str, torch.Tensor]
    preset: Preset

    def normalise(self, pixels: torch.Tensor) -> torch.Tensor:
        """uint8[N,3,S,S] -> float32[N,3,S,S]."""
        mean, std = (torch.tensor(channel).reshape(1, 3, 1, 1) for channel in (self.preset.mean, self.preset.std))
        return (pixels.float() - mean) / std

    def embed(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """uint8[N,S,S,3] -> float32[N,F]."""
        with torch.inference_mode():
            features = self.trunk(self.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2)))
        return np.asarray(features.numpy(), np.float32)

    def state_file(self) -> bytes:
        """Safetensors of the whole network: what `place --checkpoint` reads."""
        tensors = {**self.trunk.state_dict(), **self.head_state}
        return save({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()})


def open_network(name: str | None, checkpoint: Path | None, eye: Eye, photos: Sequence[Path]) -> Network:
    """The network that is placed, in torch.

    Args:
        name: of the architecture; None is the default.
        checkpoint: its weights; None are the published ones.
        eye: the placed backbone, which it must equal.
        photos: some, to find its head on.

    Raises:
        BackboneError: it cannot be tuned.
        VerificationError: it is another network than the placed one.
    """
    architecture = find_architecture(name or DEFAULT_MODEL)
    state = read_state(checkpoint) if checkpoint is not None else architecture.fetch("default").state
    pixels = torch.from_numpy(read_pixels(photos[:2], architecture.preset.transform)).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(part).reshape(1, 3, 1, 1) for part in (architecture.preset.mean, architecture.preset.std))
    images = (pixels.float() - mean) / std
    network = architecture.build(IMAGENET_CLASSES)
    head_name = find_head(network, images, architecture.name)
    classes = count_classes(network, state, head_name, "the checkpoint")
    network = architecture.build(classes)
    load_state(network, state, "the checkpoint")
    if not isinstance(network.get_submodule(head_name), nn.Linear):
        raise BackboneError(
            f"{architecture.name} ends in a convolution; only networks that end in a linear layer are tuned."
        )
    cut = cut_at_head(network, images, architecture.name)
    head_state = {key: tensor for key, tensor in state.items() if key.startswith(f"{head_name}.")}
    opened = Network(architecture.name, cut.trunk, cut.head, head_state, architecture.preset)
    refuse_other_backbone(make_probe(eye, {}), opened.embed)
    return opened


def open_tuned_eye(network: Network, eye: Eye) -> Eye:
    """What sees with the tuned weights: the same decoder, the tuned network in ONNX Runtime."""
    labels = tuple(map(str, range(network.head.out_features)))
    backbone = Backbone(network.name, network.trunk, network.head, network.preset, labels, "", "tuned")
    embedder = graphs.Embedder(backbone).eval()
    content = graphs.embedder_onnx(graphs.embedder_program(embedder, network.preset.transform.side_px))
    digest = hashlib.sha256(eye.digest.encode() + network.state_file()).hexdigest()
    return replace(eye, session=open_session(content), digest=digest)
