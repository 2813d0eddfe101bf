"""The photos of an earlier training, which `train --from` rehearses: their features are in the trained folder.

The photos themselves may no longer exist.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.arrays import Floats
from export.errors import TrainingError
from export.training.dataset.catalogue import Row
from export.training.features.extractor import FeatureExtractor
from export.training.heads.probe import require_same_backbone
from export.training.heads.trained_folder import PROBE, REHEARSAL, SPLIT, TrainedFolder, read_trained_folder


@dataclass(frozen=True)
class Rehearsal:
    """Photos of an earlier training.

    Attributes:
        rows: photos with labels and splits.
        features: float32[N,F].
        digests: SHA-256 of each photo.
    """

    trained: TrainedFolder
    rows: tuple[Row, ...]
    features: Floats
    digests: tuple[bytes, ...]


def read_rehearsal(folder: Path, extractor: FeatureExtractor) -> Rehearsal:
    """Reads the rehearsal photos of a trained folder, for the backbone that it was trained on.

    Raises:
        TrainingError: the folder is not a trained folder, or is damaged.
        VerificationError: the heads were trained on another backbone.
    """
    trained = read_trained_folder(folder)
    require_same_backbone(trained.tensors(PROBE), extractor.embed)
    with (folder / SPLIT).open(encoding="utf-8", newline="") as file:  # a photo's name may have a line break
        lines = list(csv.DictReader(file))
    features = np.asarray(trained.tensors(REHEARSAL)["features"], np.float32)
    if len(lines) != len(features):
        raise TrainingError(f"{folder}: {SPLIT} has {len(lines)} photos, {REHEARSAL} {len(features)}. Train it again.")
    rows = tuple(
        Row(
            Path(line["photo"]),
            {name: line[name] for name in trained.heads if line.get(name)},
            split=line["split"],
        )
        for line in lines
    )
    return Rehearsal(trained, rows, features, tuple(bytes.fromhex(line["sha256"]) for line in lines))
