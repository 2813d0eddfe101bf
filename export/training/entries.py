"""What enters the tuned part of a backbone, photo by photo: kept on disk where a part is frozen, else made anew.

Owns: augmented views and where they are kept. A killed run goes on after the photos that were done.
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

from export.training.augmentation import augmentation
from export.training.errors import TrainingError
from export.training.eye import Eye
from export.training.partition import Partition
from export.training.tuned_network import Network
from triptych_models.recognition.preprocessing import preprocess

Rows = np.ndarray[Any, Any]
Progress = Callable[[int, int], None]

_PHOTOS_AT_ONCE = 16
_DECODERS = 4
_DISK_RESERVE_BYTES = 500_000_000


class Entries:
    """Photos as they enter the tuned part: view 0 as served, the others augmented.

    Args:
        photos: of all rows.
        eye: whose decoder reads them.
        network: the backbone.
        part: where it is entered.
        views: augmented ones of each photo that is learned from.
        seed: of the augmentation.
    """

    def __init__(
        self, photos: Sequence[Path], eye: Eye, network: Network, part: Partition, views: int, seed: int
    ) -> None:
        self._photos, self._eye, self._network, self._part = photos, eye, network, part
        self._views, self._seed = views, seed
        self._device = next(part.trunk.parameters()).device
        self._augment = augmentation(network.preset.transform.side_px)
        self._square = replace(eye.transform, side_px=network.preset.transform.resize_px, crop_ratio=1.0)
        self._kept: np.memmap[Any, Any] | None = None
        self._place: dict[int, int] = {}

    def keep(self, train: Rows, validation: Rows, folder: Path, progress: Progress) -> None:
        """Computes and keeps what enters, on disk; nothing where everything is tuned.

        Raises:
            TrainingError: there is no room for it.
        """
        if self._part.boundary is None:
            return
        wanted = [(int(row), view) for row in validation for view in (0,)]
        wanted += [(int(row), view) for row in train for view in range(self._views + 1)]
        with torch.inference_mode():
            shape = tuple(self._part.enter(self._images(wanted[:1]).to(self._device)).shape[1:])
        self._kept, done_file = _open(folder, (len(wanted), *shape)), folder / "done"
        done = int(done_file.read_text()) if done_file.is_file() else 0
        for start in range(done, len(wanted), 8 * _PHOTOS_AT_ONCE):
            batch = wanted[start : start + 8 * _PHOTOS_AT_ONCE]
            for offset in range(0, len(batch), _PHOTOS_AT_ONCE):
                some = batch[offset : offset + _PHOTOS_AT_ONCE]
                with torch.inference_mode():
                    entered = self._part.enter(self._images(some).to(self._device))
                self._kept[start + offset : start + offset + len(some)] = entered.half().cpu().numpy()
            self._kept.flush()
            done_file.write_text(str(start + len(batch)))
            progress(start + len(batch), len(wanted))
        self._place = {item: place for place, item in reversed(list(enumerate(wanted)))}  # type: ignore[misc]

    def __call__(self, rows: Rows, epoch: int | None) -> torch.Tensor:
        """What enters for `rows`: a view of this epoch each, or as served where there is no epoch."""
        items = [(int(row), self._view(int(row), epoch)) for row in rows]
        if self._kept is None:
            return self._images(items)
        places = [self._place[item] for item in items]  # type: ignore[index]
        return torch.from_numpy(np.asarray(self._kept[places], np.float32))

    def _view(self, row: int, epoch: int | None) -> int:
        if epoch is None:
            return 0
        if self._kept is None:
            return epoch
        return int(np.random.default_rng([self._seed, row, epoch]).integers(self._views + 1))

    def _images(self, items: Sequence[tuple[int, int]]) -> torch.Tensor:
        """float32[N,3,S,S], normalised."""
        with ThreadPoolExecutor(_DECODERS) as pool:
            decoded = list(pool.map(lambda item: self._decode(*item), items))
        threads = torch.get_num_threads()
        # One photo is too little for several threads: they would wait for each other most of the time.
        torch.set_num_threads(1)
        try:
            pixels = [
                self._change(square, row, view) if view else square
                for (row, view), square in zip(items, decoded, strict=True)
            ]
        finally:
            torch.set_num_threads(threads)
        return self._network.normalise(torch.stack(pixels))

    def _change(self, square: torch.Tensor, row: int, view: int) -> torch.Tensor:
        """The same for the same photo and view; torchvision draws from torch's one generator."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed * 1_000_003 + row * 4_099 + view)
            return self._augment(square)

    def _decode(self, row: int, view: int) -> torch.Tensor:
        """uint8[3,*,*]: as served, or the larger square that views are cut from."""
        transform = self._square if view else self._eye.transform
        content = self._photos[row].read_bytes()
        pixels = preprocess(content, transform, self._eye.limits)
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def _open(folder: Path, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    file, size_bytes = folder / "entries.f16", 2 * math.prod(shape)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if file.is_file() and file.stat().st_size == size_bytes:
            return np.memmap(file, np.float16, "r+", shape=shape)
        (folder / "done").unlink(missing_ok=True)
        free_bytes = shutil.disk_usage(folder).free
        if free_bytes < size_bytes + _DISK_RESERVE_BYTES:
            raise TrainingError(
                f"What enters the tuned part takes {size_bytes / 1e9:.1f} GB on disk, {folder} has "
                f"{free_bytes / 1e9:.1f} GB free. Tune fewer blocks, use fewer --tune-views, or another --cache."
            )
        return np.memmap(file, np.float16, "w+", shape=shape)
    except OSError as error:
        raise TrainingError(f"{file} cannot be written ({error}). Make room, or name another --cache.") from error
