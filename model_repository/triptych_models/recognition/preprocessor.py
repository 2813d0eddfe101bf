"""Model `preprocess`, the first step of ensemble `recognizer`."""

from __future__ import annotations

import time
from functools import partial

import numpy as np

from triptych_models.errors import Code
from triptych_models.metrics.registry import MetricRegistry
from triptych_models.metrics.stages import DecodeMetrics
from triptych_models.recognition import preprocessing
from triptych_models.recognition.transform import read_transform
from triptych_models.triton.model import Arrays, Model, ModelConfig, Request, Server


class Preprocessor(Model):
    """Encoded photos -> the pixels that the network takes."""

    role = "preprocess"
    reuses_buffers = True
    codes = (Code.IMAGE_UNREADABLE, Code.IMAGE_TOO_LARGE)

    def __init__(self, config: ModelConfig, metrics: MetricRegistry, server: Server) -> None:
        config.files.require(config.files.transform)
        self._transform = read_transform(config.files.transform)
        self._limits = preprocessing.Limits.from_parameters(config.parameters)
        side_px = self._transform.side_px
        if config.outputs["pixels"] != (side_px, side_px, 3):
            raise ValueError(
                f"config.pbtxt says pixels are {list(config.outputs['pixels'])}, but the placed backbone takes "
                f"{[side_px, side_px, 3]}. Run `make build` again."
            )
        self._decode = DecodeMetrics(metrics)

    def answer(self, request: Request) -> Arrays:
        """See `Model`."""
        received_s = time.monotonic()
        photos = request.array("image").reshape(-1).tolist()
        record = partial(self._decode.record_photo, request.source)
        with self._decode.timed():
            pixels = preprocessing.preprocess_all(photos, self._transform, self._limits, record)
        return {"pixels": pixels, "timing": timing_of(len(photos), received_s)}


def timing_of(photos: int, received_s: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """float64[N,2] of the system's monotonic clock: time at which the photo was received, and the time now."""
    return np.tile([received_s, time.monotonic()], (photos, 1))
