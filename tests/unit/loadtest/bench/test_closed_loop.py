"""Stages of a measurement, from a server that counts requests late or never."""

from __future__ import annotations

import pytest

from loadtest.bench import closed_loop
from loadtest.bench.closed_loop import Measurement
from loadtest.errors import LoadTestError
from loadtest.server.counters import STAGES, StageTotals

ADDRESS = "127.0.0.1:8000"


class LateServer:
    """Fake `stage_totals`: each reading after the first counts one request more; every stage takes 2 ms a request."""

    def __init__(self, counted: int, most: int) -> None:
        self.counted = counted
        self.most = most
        self.readings = 0

    def __call__(self, http_address: str) -> StageTotals:
        assert http_address == ADDRESS
        self.counted = min(self.most, self.counted + (self.readings > 0))
        self.readings += 1
        return {"recognizer": {"requests": self.counted, **dict.fromkeys(STAGES, 2_000_000 * self.counted)}}


def four_calls(duration_s: float) -> Measurement:
    return Measurement(rate=4 / duration_s, latencies_s=[0.01] * 4)


def test_stages_are_read_when_the_server_has_counted_all_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LateServer(counted=10, most=14)
    monkeypatch.setattr(closed_loop, "stage_totals", server)
    measurement = closed_loop.with_stages(four_calls, ADDRESS)(1.0)
    assert server.readings == 5, "one before the calls, then until 14 are counted"
    assert measurement.stages_ms == dict.fromkeys(STAGES, 2.0)
    assert (measurement.rate, len(measurement.latencies_s)) == (4, 4)


def test_measurement_is_refused_when_the_server_never_counts_its_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    server = LateServer(counted=10, most=12)
    monkeypatch.setattr(closed_loop, "stage_totals", server)
    monkeypatch.setattr(closed_loop, "COUNTED_WITHIN_S", 0.05)
    with pytest.raises(LoadTestError, match=r"counted 12 requests of recognizer, expected 14 .*--target and --http"):
        closed_loop.with_stages(four_calls, ADDRESS)(1.0)
    assert server.readings > 2
