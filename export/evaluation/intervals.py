"""Estimates with 95 % confidence intervals."""

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
    """A figure with its 95 % interval and the number of photos; the figure is None without photos."""

    value: float | None
    low: float | None
    high: float | None
    photos: int

    def __str__(self) -> str:
        if self.value is None:
            return "- (no photos)"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, {self.photos} photos)"


def estimate_share(right: int, photos: int) -> Estimate:
    """A share with Wilson's interval, which, unlike the normal one, is valid for few photos and near 0 and 1."""
    if photos == 0:
        return Estimate(None, None, None, 0)
    interval = binomtest(right, photos).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(right / photos, float(interval.low), float(interval.high), photos)


def estimate_by_resampling(
    figure: Callable[[npt.NDArray[np.int64]], float], photos: int, seed: int, resamples: int = _RESAMPLES
) -> Estimate:
    """A figure with a percentile bootstrap interval, for figures that are not a share of photos.

    Args:
        figure: computes the figure from row indices.
        photos: number of rows.
        seed: random seed.
        resamples: number of resamples.
    """
    everything = np.arange(photos)
    if photos == 0:
        return Estimate(None, None, None, 0)
    generator = np.random.default_rng(seed)
    drawn = [figure(generator.integers(0, photos, photos)) for _ in range(resamples)]
    outside = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [outside, 100 - outside])
    return Estimate(figure(everything), float(low), float(high), photos)
