"""From fitted heads to a tuned backbone: opens the placed network in torch, tunes its last blocks, and hands on what
sees with the new weights. The heads that are served are fitted again on what it sees.
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
from rich.progress import Progress

from export.progress import step
from export.training.entries import Entries
from export.training.eye import Eye
from export.training.heads import Head
from export.training.partition import Partition, partition
from export.training.preparation import Prepared
from export.training.split import TRAIN, VALIDATION
from export.training.tuned_network import Network, open_network, open_tuned_eye
from export.training.tuning import Photos, Tuning, tune

SAMPLE_PHOTOS = 4


@dataclass(frozen=True)
class TunedBackbone:
    """Attributes:
    eye: sees with the tuned weights.
    history: figures of every epoch.
    folder: of checkpoints; removed once the trained folder is written.
    """

    network: Network
    eye: Eye
    history: dict[str, Any]
    folder: Path

    def forget(self) -> None:
        """Removes what was kept for going on after a kill."""
        shutil.rmtree(self.folder, ignore_errors=True)


def tune_backbone(
    prepared: Prepared,
    heads: Mapping[str, Head],
    eye: Eye,
    base: tuple[str | None, Path | None],
    tuning: Tuning,
    cache: Path,
    console: Console,
) -> TunedBackbone:
    """Tunes on the training photos, to the best epoch on the validation photos.

    Args:
        prepared: the photos.
        heads: fitted on the backbone as it is.
        eye: the placed backbone.
        base: its architecture's name and its weights, None for the published ones.
        tuning: how.
        cache: folder for what is kept while it goes on.
        console: to tell what is going on.

    Raises:
        ExportError: the network cannot be tuned, or nothing can be written.
    """
    photos = [row.photo for row in prepared.rows]
    with step(console, "Opening the backbone in torch"):
        network, part = _open(base, eye, photos[:SAMPLE_PHOTOS], tuning.unfreeze)
        network.trunk.to("cuda" if torch.cuda.is_available() else "cpu")
    fingerprint = _fingerprint(prepared, eye, tuning)
    folder = cache / "tuning" / fingerprint[:16]
    entries = Entries(photos, eye, network, part, tuning.views, tuning.seed)
    train, validation = prepared.split.rows(TRAIN), prepared.split.rows(VALIDATION)
    with Progress(console=console, transient=True) as bar, step(console, "What enters the tuned blocks"):
        task = bar.add_task("Views")
        entries.keep(train, validation, folder, lambda done, total: bar.update(task, completed=done, total=total))
    targets = {name: prepared.targets(name) for name in prepared.attributes}
    start = {name: (heads[name].weight, heads[name].bias) for name in prepared.attributes}
    blocks = part.blocks if tuning.unfreeze is None else tuning.unfreeze
    learned = Photos(entries, targets, train, validation, fingerprint)
    with step(console, f"Tuning {blocks} of {part.blocks} blocks"):
        history = tune(part, start, learned, tuning, folder, lambda figures: console.print(_describe(figures)))
    network.trunk.to("cpu")
    with step(console, "Writing the tuned backbone as ONNX"):
        tuned_eye = open_tuned_eye(network, eye)
    return TunedBackbone(network, tuned_eye, history, folder)


def _open(
    base: tuple[str | None, Path | None], eye: Eye, photos: list[Path], unfreeze: int | None
) -> tuple[Network, Partition]:
    network = open_network(*base, eye, photos)
    pixels = np.stack([eye.decode(photo.read_bytes()) for photo in photos])
    images = network.normalise(torch.from_numpy(pixels).permute(0, 3, 1, 2))
    return network, partition(network.trunk, images, unfreeze)


def _describe(figures: Mapping[str, Any]) -> str:
    loss = f", training loss {figures['train_loss']:.3f}" if "train_loss" in figures else " (heads alone)"
    recall = f", Recall@1 {figures['recall_1']:.4f}" if "recall_1" in figures else ""
    return (
        f"    epoch {figures['epoch']}: validation {figures['accuracy']:.4f}{recall}, loss {figures['loss']:.3f}{loss}"
    )


def _fingerprint(prepared: Prepared, eye: Eye, tuning: Tuning) -> str:
    digest = hashlib.sha256(eye.digest.encode())
    for row, side, photo in zip(prepared.rows, prepared.split.sides, prepared.features.digests, strict=True):
        digest.update(photo + side.encode() + repr(sorted(row.labels.items())).encode())
    # All that what enters depends on; a checkpoint of other settings is told apart by itself, see `tune`.
    digest.update(repr((tuning.unfreeze, tuning.views, tuning.seed)).encode())
    return digest.hexdigest()
