"""The trained folder: what training leaves and placing, judging and continuing read. Whole or not there.

training.json        what was learned from what, and the sha256 of every other file; written last
heads.safetensors    `<attribute>.weight` float32[C,F] and `<attribute>.bias` float32[C], temperature folded in
labels/<attribute>.txt   a line a class, in the order of the scores
split.csv            every photo: its side, its group, its labels, its sha256
unreadable.csv       photos that were skipped, and why
metrics.json         what was measured
rehearsal.safetensors    features of the photos of split.csv, in its order, for `train --from`
probe.safetensors    a drawn picture and its features: are these heads for that backbone?
backbone.safetensors the tuned network's state dict, where the backbone was tuned
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from export.placement import sync_folder
from export.training.errors import TrainingError
from export.training.heads import Head

FACTS = "training.json"
HEADS = "heads.safetensors"
METRICS = "metrics.json"
SPLIT = "split.csv"
UNREADABLE = "unreadable.csv"
REHEARSAL = "rehearsal.safetensors"
PROBE = "probe.safetensors"
BACKBONE = "backbone.safetensors"

FORMAT = 1


@dataclass(frozen=True)
class Trained:
    """A trained folder that was read, whole.

    Attributes:
        heads: attribute -> head, in the order of the outputs.
        facts: of `training.json`.
    """

    folder: Path
    heads: dict[str, Head]
    facts: dict[str, Any]

    @property
    def backbone(self) -> Path | None:
        """The tuned network's weights; None where the backbone is as it was."""
        file = self.folder / BACKBONE
        return file if file.is_file() else None

    def tensors(self, name: str) -> dict[str, Any]:
        """A safetensors file of the folder, as numpy arrays."""
        return dict(load_file(self.folder / name))


def head_files(heads: Mapping[str, Head]) -> dict[str, bytes]:
    """Name inside the folder -> content, for the heads and their labels."""
    tensors = {}
    for name, head in heads.items():
        # safetensors writes the memory as it lies: a matrix by columns would come back as another one.
        tensors[f"{name}.weight"] = np.ascontiguousarray(head.weight)
        tensors[f"{name}.bias"] = np.ascontiguousarray(head.bias)
    labels = {
        f"labels/{name}.txt": "".join(f"{one}\n" for one in head.classes).encode() for name, head in heads.items()
    }
    return {HEADS: save(tensors), **labels}


def write_trained(folder: Path, files: Mapping[str, bytes], facts: Mapping[str, Any], replace: bool = False) -> None:
    """Makes the folder in one go; a process killed at any moment leaves the old one or the new one.

    Raises:
        TrainingError: it exists and `replace` is not set, or cannot be written; what was there is there still.
    """
    require_free(folder, replace)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())}
    content = json.dumps({"format": FORMAT, **facts, "files": digests}, indent=2, ensure_ascii=False) + "\n"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _staging(folder) as staging:
            for name, part in {**files, FACTS: content.encode()}.items():
                _write(staging / name, part)
            _swap(staging, folder)
    except OSError as error:
        raise TrainingError(
            f"{folder} cannot be written ({error.strerror or error}). Nothing there was changed; the features are kept "
            "in the cache, so that another run takes less time. Make room, or name another folder with --output."
        ) from error


def require_free(folder: Path, replace: bool) -> None:
    """Raises TrainingError where a result would be in the way."""
    _recover(folder)
    if folder.exists() and not (folder.is_dir() and (replace or not any(folder.iterdir()))):
        raise TrainingError(
            f"{folder} exists. Name another folder with --output, or replace what is there with --replace."
        )
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FACTS).is_file():
        raise TrainingError(f"{folder} holds files and no {FACTS}: it is no trained folder, and is not replaced.")


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    staging.chmod(0o755)
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _swap(staging: Path, folder: Path) -> None:
    old = staging.with_name(f"{staging.name}-old")
    if folder.exists():
        folder.rename(old)
    try:
        staging.rename(folder)
    except OSError:
        if old.exists():
            old.rename(folder)
        raise
    sync_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def _recover(folder: Path) -> None:
    """Puts back what a process that was killed between the two renames had moved aside."""
    if folder.exists():
        return
    for old in folder.parent.glob(f".{folder.name}-*-old"):
        if (old / FACTS).is_file():
            old.rename(folder)
            return


def read_trained(folder: Path) -> Trained:
    """Reads a trained folder and holds every file to its digest.

    Raises:
        TrainingError: it is none, or damaged.
    """
    _recover(folder)
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(
            f"{folder} is no trained folder: {FACTS} cannot be read ({error}). Make one with `python -m export train`."
        ) from error
    if facts.get("format") != FORMAT:
        raise TrainingError(
            f"{folder} is of format {facts.get('format')}; this program reads {FORMAT}. Train it again."
        )
    for name, digest in facts["files"].items():
        file = folder / name
        if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
            raise TrainingError(f"{file} is missing or was changed since it was trained. Train it again.")
    try:
        return Trained(folder, _read_heads(folder, facts), facts)
    except (SafetensorError, KeyError, OSError) as error:
        raise TrainingError(f"{folder / HEADS} is not what {FACTS} says ({error}). Train it again.") from error


def _read_heads(folder: Path, facts: Mapping[str, Any]) -> dict[str, Head]:
    tensors = load_file(folder / HEADS)
    heads = {}
    for name, stated in facts["attributes"].items():
        classes = tuple((folder / f"labels/{name}.txt").read_text(encoding="utf-8").splitlines())
        weight, bias = (np.asarray(tensors[f"{name}.{part}"], np.float32) for part in ("weight", "bias"))
        heads[name] = Head(name, classes, weight, bias, float(stated["temperature"]))
    return heads
