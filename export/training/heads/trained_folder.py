"""The trained folder: the output of training, read by placing, evaluation and incremental training. Written atomically.

training.json        settings, measurements, and the SHA-256 of every other file; written last
heads.safetensors    `<attribute>.weight` float32[C,F] and `<attribute>.bias` float32[C], including the temperature
labels/<attribute>.txt   one line per class, in the order of the scores
split.csv            every photo with split, group, labels and SHA-256
unreadable.csv       skipped photos and the reasons
metrics.json         accuracy per attribute and class
rehearsal.safetensors    features of the photos in split.csv, in that order, for `train --from`
probe.safetensors    generated pictures with their features and scores, to identify the backbone
backbone.safetensors state dict of the fine-tuned network, if the backbone was fine-tuned
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from export.errors import TrainingError
from export.folder_replacement import replace_folder, restore_folder
from export.repository.manifest import sha256
from export.repository.writable import require_writable
from export.training.heads.fitting import Head

FACTS = "training.json"
HEADS = "heads.safetensors"
METRICS = "metrics.json"
SPLIT = "split.csv"
UNREADABLE = "unreadable.csv"
REHEARSAL = "rehearsal.safetensors"
PROBE = "probe.safetensors"
BACKBONE = "backbone.safetensors"

FORMAT = 1
# With a tuned backbone and the report.
_BYTES = 30_000_000


@dataclass(frozen=True)
class TrainedFolder:
    """A trained folder whose files match their digests.

    Attributes:
        heads: attribute -> head, in the order of the outputs.
        facts: content of `training.json`.
    """

    folder: Path
    heads: dict[str, Head]
    facts: dict[str, Any]

    @property
    def backbone(self) -> Path | None:
        """The weights of the fine-tuned network; None if the backbone was not fine-tuned."""
        file = self.folder / BACKBONE
        return file if file.is_file() else None

    def tensors(self, name: str) -> dict[str, Any]:
        """The arrays of a safetensors file in the folder."""
        return dict(load_file(self.folder / name))


def head_files(heads: Mapping[str, Head]) -> dict[str, bytes]:
    """Path inside the folder -> content, for the heads and their labels."""
    tensors = {}
    for name, head in heads.items():
        # safetensors writes memory in its current order: a column-major matrix would be read back wrongly.
        tensors[f"{name}.weight"] = np.ascontiguousarray(head.weight)
        tensors[f"{name}.bias"] = np.ascontiguousarray(head.bias)
    labels = {
        f"labels/{name}.txt": "".join(f"{one}\n" for one in head.classes).encode() for name, head in heads.items()
    }
    return {HEADS: save(tensors), **labels}


def write_trained_folder(
    folder: Path, files: Mapping[str, bytes], facts: Mapping[str, Any], replace: bool = False
) -> None:
    """Writes the folder atomically: a process killed at any moment leaves the old folder or the new one.

    Raises:
        TrainingError: the folder exists and `replace` is not set, or cannot be written; it is unchanged.
    """
    require_free(folder, replace)
    digests = {name: sha256(content) for name, content in sorted(files.items())}
    content = json.dumps({"format": FORMAT, **facts, "files": digests}, indent=2, ensure_ascii=False) + "\n"
    try:
        replace_folder(folder, {**files, FACTS: content.encode()})
    except OSError as error:
        raise TrainingError(
            f"{folder} cannot be written ({error.strerror or error}). It is unchanged, and the features stay in the "
            "cache for the next run. Free some disk space, or name another folder with --output."
        ) from error


def require_free(folder: Path, replace: bool) -> None:
    """Raises an ExportError if the folder exists and may not be replaced, or could not be written."""
    restore_folder(folder, FACTS)
    if folder.exists() and not (folder.is_dir() and (replace or not any(folder.iterdir()))):
        raise TrainingError(f"{folder} exists. Name another folder with --output, or replace it with --replace.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FACTS).is_file():
        raise TrainingError(f"{folder} contains files but no {FACTS}: it is not a trained folder and is not replaced.")
    require_writable(folder, _BYTES, "--output")


def read_trained_folder(folder: Path) -> TrainedFolder:
    """Reads a trained folder and checks every file against its digest.

    Raises:
        TrainingError: the folder is not a trained folder, or is damaged.
    """
    restore_folder(folder, FACTS)
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{folder} is not a trained folder: {FACTS} cannot be read ({error}). Make one with `triptych train`."
        ) from error
    if facts.get("format") != FORMAT:
        raise TrainingError(
            f"{folder} has format {facts.get('format')}; this version reads format {FORMAT}. Train it again."
        )
    for name, digest in facts["files"].items():
        file = folder / name
        if not file.is_file() or sha256(file.read_bytes()) != digest:
            raise TrainingError(f"{file} is missing or was changed after training. Train it again.")
    try:
        return TrainedFolder(folder, _read_heads(folder, facts), facts)
    except (SafetensorError, KeyError, OSError) as error:
        raise TrainingError(f"{folder / HEADS} does not match {FACTS} ({error}). Train it again.") from error


def _read_heads(folder: Path, facts: Mapping[str, Any]) -> dict[str, Head]:
    tensors = load_file(folder / HEADS)
    heads = {}
    for name, stated in facts["attributes"].items():
        classes = tuple((folder / f"labels/{name}.txt").read_text(encoding="utf-8").splitlines())
        weight, bias = (np.asarray(tensors[f"{name}.{part}"], np.float32) for part in ("weight", "bias"))
        heads[name] = Head(name, classes, weight, bias, float(stated["temperature"]))
    return heads
