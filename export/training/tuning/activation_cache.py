"""Activation cache: inputs of the tuned layers for augmented views of each photo, on disk or computed on demand.

With frozen layers, the activations of the last frozen layer are stored on disk; an interrupted run resumes after the
finished photos. If all layers are tuned, images are computed on demand.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.transforms import v2

from export.arrays import Integers
from export.errors import TrainingError
from export.progress import OnProgress
from export.sources.backbones import Preset
from export.training.features.extractor import FeatureExtractor
from export.training.tuning.frozen_layers import PartlyFrozenTrunk
from triptych_models.recognition.preprocessing import preprocess

_PHOTOS_AT_ONCE = 16
_DECODERS = 4
_DISK_RESERVE_BYTES = 500_000_000


class ActivationCache:
    """Inputs of the tuned layers: view 0 of each photo as served, and `views` augmented views."""

    def __init__(
        self,
        photos: Sequence[Path],
        extractor: FeatureExtractor,
        preset: Preset,
        trunk: PartlyFrozenTrunk,
        views: int,
        seed: int,
    ) -> None:
        self._photos, self._extractor, self._preset, self._trunk = photos, extractor, preset, trunk
        self._views, self._seed = views, seed
        self._device = next(trunk.module.parameters()).device
        self._augment = make_augmentation(preset.transform.side_px)
        self._square = replace(extractor.transform, side_px=preset.transform.resize_px, crop_ratio=1.0)
        self._stored: np.memmap[Any, Any] | None = None
        self._positions: dict[int, int] = {}

    def fill(self, train: Integers, validation: Integers, folder: Path, on_progress: OnProgress) -> None:
        """Computes and stores all activations; does nothing if all layers are tuned.

        Raises:
            TrainingError: the disk has too little free space.
        """
        if self._trunk.boundary is None:
            return
        wanted = [(int(row), 0) for row in validation]
        wanted += [(int(row), view) for row in train for view in range(self._views + 1)]
        with torch.inference_mode():
            shape = tuple(self._trunk.run_frozen(self._images(wanted[:1]).to(self._device)).shape[1:])
        self._stored, done_file = _open_store(folder, (len(wanted), *shape)), folder / "done"
        done = int(done_file.read_text()) if done_file.is_file() else 0
        for start in range(done, len(wanted), 8 * _PHOTOS_AT_ONCE):
            batch = wanted[start : start + 8 * _PHOTOS_AT_ONCE]
            for offset in range(0, len(batch), _PHOTOS_AT_ONCE):
                some = batch[offset : offset + _PHOTOS_AT_ONCE]
                with torch.inference_mode():
                    activations = self._trunk.run_frozen(self._images(some).to(self._device))
                self._stored[start + offset : start + offset + len(some)] = activations.half().cpu().numpy()
            self._stored.flush()
            done_file.write_text(str(start + len(batch)))
            on_progress(start + len(batch), len(wanted))
        self._positions = {item: place for place, item in reversed(list(enumerate(wanted)))}  # type: ignore[misc]

    def __call__(self, rows: Integers, epoch: int | None) -> torch.Tensor:
        """Inputs of the tuned layers for `rows`: one view each for this epoch; without an epoch, as served."""
        items = [(int(row), self._view(int(row), epoch)) for row in rows]
        if self._stored is None:
            return self._images(items)
        places = [self._positions[item] for item in items]  # type: ignore[index]
        return torch.from_numpy(np.asarray(self._stored[places], np.float32))

    def _view(self, row: int, epoch: int | None) -> int:
        if epoch is None:
            return 0
        if self._stored is None:
            return epoch
        return int(np.random.default_rng([self._seed, row, epoch]).integers(self._views + 1))

    def _images(self, items: Sequence[tuple[int, int]]) -> torch.Tensor:
        """float32[N,3,S,S], normalised."""
        with ThreadPoolExecutor(_DECODERS) as pool:
            decoded = list(pool.map(lambda item: self._decode(*item), items))
        threads = torch.get_num_threads()
        # One photo is too little work for several threads, which would mostly wait for each other.
        torch.set_num_threads(1)
        try:
            pixels = [
                self._augment_photo(square, row, view) if view else square
                for (row, view), square in zip(items, decoded, strict=True)
            ]
        finally:
            torch.set_num_threads(threads)
        return self._preset.normalise(torch.stack(pixels).permute(0, 2, 3, 1).numpy())

    def _augment_photo(self, square: torch.Tensor, row: int, view: int) -> torch.Tensor:
        """Augments a photo, deterministically per row and view; torchvision uses torch's global generator."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed * 1_000_003 + row * 4_099 + view)
            return self._augment(square)

    def _decode(self, row: int, view: int) -> torch.Tensor:
        """uint8[3,*,*]: the served square (view 0), or the larger square that augmented views are cropped from."""
        transform = self._square if view else self._extractor.transform
        content = self._photos[row].read_bytes()
        pixels = preprocess(content, transform, self._extractor.limits)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def make_augmentation(side_px: int) -> Callable[[torch.Tensor], torch.Tensor]:
    """uint8[3,S',S'] -> uint8[3,S,S]: random crop, mirroring, colour jitter and a mild distortion.

    Crops keep at least 0.4 of the area, since products fill their photos. RandAugment is mild (one operation of
    magnitude 5 of 30), since strong colour changes would change the label.
    """
    compose: Callable[[torch.Tensor], torch.Tensor] = v2.Compose(
        [
            v2.RandomResizedCrop(side_px, scale=(0.4, 1.0), antialias=True),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.2),
            v2.RandAugment(num_ops=1, magnitude=5),
        ]
    )
    return compose


def _open_store(folder: Path, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    file, size_bytes = folder / "activations.f16", 2 * math.prod(shape)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if file.is_file() and file.stat().st_size == size_bytes:
            return np.memmap(file, np.float16, "r+", shape=shape)
        (folder / "done").unlink(missing_ok=True)
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < size_bytes + _DISK_RESERVE_BYTES:
            raise TrainingError(
                f"The activation cache needs {size_bytes / 1e9:.1f} GB on disk, {folder} has "
                f"{free_bytes / 1e9:.1f} GB free. Tune fewer blocks, use fewer --tune-views, or another --cache."
            )
        return np.memmap(file, np.float16, "w+", shape=shape)
    except OSError as error:
        raise TrainingError(
            f"{file} cannot be written ({error}). Free some disk space, or name another folder with --cache."
        ) from error
