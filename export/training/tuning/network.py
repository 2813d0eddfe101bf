"""The placed backbone as a torch network for fine-tuning, and the fine-tuned network as files.

Builds the placed network in torch, checks that both are equal, and makes the state dict and the feature extractor of
the fine-tuned network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from export.arrays import Floats, Pixels
from export.errors import BackboneError
from export.graphs.onnx_export import Embedder, export_embedder
from export.sources.architectures import find_architecture
from export.sources.backbones import DEFAULT_MODEL, Backbone, Preset
from export.sources.checkpoints import read_state
from export.sources.loading import cut_architecture, read_images
from export.training.features.extractor import FeatureExtractor
from export.training.heads.probe import make_probe, require_same_backbone
from export.verification.onnx_session import open_session


@dataclass(frozen=True)
class Network:
    """A network that can be fine-tuned.

    Attributes:
        trunk: float32[N,3,S,S], normalised -> float32[N,F].
        head: the network's own head, which computes `retail_score`; it is not tuned.
        head_state: tensors of the head by their names in the state dict.
    """

    name: str
    trunk: nn.Module
    head: nn.Linear
    head_state: dict[str, torch.Tensor]
    preset: Preset

    def embed(self, pixels: Pixels) -> Floats:
        """uint8[N,S,S,3] -> float32[N,F]."""
        with torch.inference_mode():
            features = self.trunk(self.preset.normalise(pixels))
        return np.asarray(features.numpy(), np.float32)

    def state_file(self) -> bytes:
        """The whole network as safetensors, which `build --checkpoint` reads."""
        tensors = {**self.trunk.state_dict(), **self.head_state}
        return save({name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()})


def open_network(
    name: str | None, checkpoint: Path | None, extractor: FeatureExtractor, photos: Sequence[Path]
) -> Network:
    """Builds the placed network in torch; without a name and a checkpoint, the default with its published weights.

    The features must equal those of `extractor`; example photos serve to find the head of the network.

    Raises:
        BackboneError: the network cannot be fine-tuned.
        VerificationError: the network differs from the placed one.
    """
    architecture = find_architecture(name or DEFAULT_MODEL)
    state = read_state(checkpoint) if checkpoint is not None else architecture.fetch("default").state
    cut = cut_architecture(architecture, state, "the checkpoint", read_images(photos[:2], architecture.preset))
    head_state = {key: tensor for key, tensor in state.items() if key.startswith(f"{cut.head_name}.")}
    if head_state[f"{cut.head_name}.weight"].ndim != 2:
        raise BackboneError(
            f"{architecture.name} ends in a convolution; fine-tuning needs a network that ends in a linear layer."
        )
    opened = Network(architecture.name, cut.trunk, cut.head, head_state, architecture.preset)
    require_same_backbone(make_probe(extractor, {}), opened.embed)
    return opened


def open_tuned_extractor(network: Network, extractor: FeatureExtractor) -> FeatureExtractor:
    """A feature extractor with the same decoder and the fine-tuned network in ONNX Runtime."""
    labels = tuple(map(str, range(network.head.out_features)))
    backbone = Backbone(network.name, network.trunk, network.head, network.preset, labels, "", "tuned")
    _, content = export_embedder(Embedder(backbone).eval(), network.preset.transform.side_px)
    digest = hashlib.sha256(extractor.digest.encode() + network.state_file()).hexdigest()
    return replace(extractor, session=open_session(content), digest=digest)
