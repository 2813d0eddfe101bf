"""Estimates with 95 % confidence intervals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from export.arrays import Integers

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
            return "not measured (no photos)"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f}, {self.photos} photos)"


def estimate_share(right: int, photos: int) -> Estimate:
    """A share with Wilson's interval, which, unlike the normal one, is valid for few photos and near 0 and 1."""
    if photos == 0:
        return Estimate(None, None, None, 0)
    interval = binomtest(right, photos).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(right / photos, float(interval.low), float(interval.high), photos)


def estimate_by_resampling(figure: Callable[[Integers], float], photos: int) -> Estimate:
    """A percentile bootstrap interval for a figure of some rows, int64[*], that is not a share of photos."""
    generator = np.random.default_rng(0)
    drawn = [figure(generator.integers(0, photos, photos)) for _ in range(_RESAMPLES)]
    outside = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(drawn, [outside, 100 - outside])
    return Estimate(figure(np.arange(photos)), float(low), float(high), photos)
