"""Shares with the interval that their number of photos allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

CONFIDENCE = 0.95
_RESAMPLES = 1000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval; `photos` is how many it rests on. All None but `photos` where there are none."""

    value: float | None
    low: float | None
    high: float | None
    photos: int

    def __str__(self) -> str:
        if self.value is None:
            return "- (no photos)"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, {self.photos} photos)"


def estimate_share(right: int, photos: int) -> Estimate:
    """Wilson's interval: it holds for few photos and near 0 and 1, where the normal one does not."""
    if photos == 0:
        return Estimate(None, None, None, 0)
    interval = binomtest(right, photos).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(right / photos, float(interval.low), float(interval.high), photos)


def estimate_by_resampling(
    figure: Callable[[npt.NDArray[np.int64]], float], photos: int, seed: int, resamples: int = _RESAMPLES
) -> Estimate:
    """The percentile bootstrap, for figures that are no share of photos.

    Args:
        figure: of the rows it is given the indices of.
        photos: how many rows there are.
        seed: of the draws.
        resamples: how many draws.
    """
    everything = np.arange(photos)
    if photos == 0:
        return Estimate(None, None, None, 0)
    generator = np.random.default_rng(seed)
    drawn = [figure(generator.integers(0, photos, photos)) for _ in range(resamples)]
    outside = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [outside, 100 - outside])
    return Estimate(figure(everything), float(low), float(high), photos)
