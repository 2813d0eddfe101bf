"""Fine-tunes the placed backbone, starting from fitted heads, and returns a feature extractor with the new weights.

The caller fits the served heads again on the features of the fine-tuned backbone.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from export.progress import counted_step, step
from export.training.dataset.preparation import PreparedCatalogue
from export.training.dataset.split import TRAIN, VALIDATION
from export.training.features.extractor import FeatureExtractor
from export.training.heads.fitting import Head
from export.training.tuning.activation_cache import ActivationCache
from export.training.tuning.frozen_layers import PartlyFrozenTrunk, freeze_layers
from export.training.tuning.loop import TuningData, TuningSettings, tune
from export.training.tuning.network import Network, open_network, open_tuned_extractor

SAMPLE_PHOTOS = 4


@dataclass(frozen=True)
class TunedBackbone:
    """A fine-tuned backbone.

    Attributes:
        extractor: feature extractor with the tuned weights.
        history: figures of every epoch.
        folder: of checkpoints; removed after the trained folder is written.
    """

    network: Network
    extractor: FeatureExtractor
    history: dict[str, Any]
    folder: Path

    def remove_checkpoints(self) -> None:
        """Removes the checkpoint and the activation cache."""
        shutil.rmtree(self.folder, ignore_errors=True)


def tune_backbone(
    prepared: PreparedCatalogue,
    heads: Mapping[str, Head],
    extractor: FeatureExtractor,
    base: tuple[str | None, Path | None],
    tuning: TuningSettings,
    cache: Path,
    console: Console,
) -> TunedBackbone:
    """Fine-tunes on the training photos and selects the best epoch on the validation photos.

    `heads` were fitted on the features of the placed backbone. `base` is the name of its architecture and the file of
    its weights (None: published weights). `cache` is the folder for checkpoints and the activation cache.

    Raises:
        ExportError: the network cannot be fine-tuned, or files cannot be written.
    """
    photos = [row.photo for row in prepared.rows]
    with step(console, "Opening the backbone in torch"):
        network, trunk = _open(base, extractor, photos[:SAMPLE_PHOTOS], tuning.unfreeze)
        network.trunk.to("cuda" if torch.cuda.is_available() else "cpu")
    fingerprint = _fingerprint(prepared, extractor, tuning)
    folder = cache / "tuning" / fingerprint[:16]
    activations = ActivationCache(photos, extractor, network.preset, trunk, tuning.views, tuning.seed)
    train, validation = prepared.split.rows(TRAIN), prepared.split.rows(VALIDATION)
    with counted_step(console, "Computing activations") as on_progress:
        activations.fill(train, validation, folder, on_progress)
    targets = {name: prepared.targets(name) for name in prepared.attributes}
    start = {name: (heads[name].weight, heads[name].bias) for name in prepared.attributes}
    blocks = trunk.blocks if tuning.unfreeze is None else tuning.unfreeze
    data = TuningData(activations, targets, train, validation, fingerprint)
    with step(console, f"Tuning {blocks} of {trunk.blocks} blocks"):
        history = tune(trunk, start, data, tuning, folder, lambda figures: console.print(_describe(figures)))
    network.trunk.to("cpu")
    with step(console, "Exporting the tuned backbone"):
        tuned_extractor = open_tuned_extractor(network, extractor)
    return TunedBackbone(network, tuned_extractor, history, folder)


def _open(
    base: tuple[str | None, Path | None], extractor: FeatureExtractor, photos: list[Path], unfreeze: int | None
) -> tuple[Network, PartlyFrozenTrunk]:
    network = open_network(*base, extractor, photos)
    pixels = np.stack([extractor.decode(photo.read_bytes()) for photo in photos])
    return network, freeze_layers(network.trunk, network.preset.normalise(pixels), unfreeze)


def _describe(figures: Mapping[str, Any]) -> str:
    loss = f", training loss {figures['train_loss']:.3f}" if "train_loss" in figures else " (before tuning)"
    recall = f", Recall@1 {figures['recall_1']:.4f}" if "recall_1" in figures else ""
    return (
        f"    epoch {figures['epoch']}: validation {figures['accuracy']:.4f}{recall}, loss {figures['loss']:.3f}{loss}"
    )


def _fingerprint(prepared: PreparedCatalogue, extractor: FeatureExtractor, tuning: TuningSettings) -> str:
    digest = hashlib.sha256(extractor.digest.encode())
    for row, row_split, photo in zip(prepared.rows, prepared.split.assigned, prepared.features.digests, strict=True):
        digest.update(photo + row_split.encode() + repr(sorted(row.labels.items())).encode())
    # Everything that determines the activations; `tune` itself detects a checkpoint of other settings.
    digest.update(repr((tuning.unfreeze, tuning.views, tuning.seed)).encode())
    return digest.hexdigest()
