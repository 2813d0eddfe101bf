"""Sums and percentiles of latency histograms."""

from __future__ import annotations

import json
import math

import numpy as np

from loadtest.traffic.calls import EMBED, RECOGNIZE
from loadtest.traffic.latency_histogram import BUCKET_RATIO, LatencyHistogram


def test_histogram_adds_up_over_processes_and_phases() -> None:
    first, second = LatencyHistogram(0.25), LatencyHistogram(0.25)
    for histogram, latency_s in ((first, 0.1), (second, 0.4)):
        for at_s in range(10):
            histogram.answered(at_s, RECOGNIZE, latency_s)
        histogram.failed(3, EMBED, "Overloaded")
    second.add_json(json.loads(json.dumps(first.take_json())))
    assert first.seconds == {}
    total = second.total()
    assert (total.answered, total.within, total.failed, total.calls) == (20, 10, 2, 22)
    assert second.total([RECOGNIZE], 2, 5).answered == 6
    assert second.total([EMBED], 4, 9).calls == 0


def test_percentiles_are_within_half_a_bucket_of_the_exact_ones() -> None:
    latencies_s = np.random.default_rng(5).lognormal(-3, 0.6, 5000)
    histogram = LatencyHistogram(0.25)
    for latency_s in latencies_s:
        histogram.answered(1, RECOGNIZE, float(latency_s))
    counts = histogram.total()
    for percent in (1, 50, 90, 99):
        exact_ms = 1e3 * float(np.percentile(latencies_s, percent, method="inverted_cdf"))
        found = counts.percentile_ms(percent)
        assert found is not None
        assert abs(math.log(found / exact_ms)) <= math.log(BUCKET_RATIO) / 2 + 1e-9, percent
    assert counts.within == int((latencies_s < 0.25).sum())
    assert LatencyHistogram(0.25).total().percentile_ms(99) is None
