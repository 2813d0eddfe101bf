"""The scenario `sweep`: concurrency 1-32, batch size 1-32, with and without the answer cache, gRPC and HTTP."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from loadtest.bench.call_methods import Call
from loadtest.bench.closed_loop import Measurement
from loadtest.bench.scenario import Measure, Variant
from loadtest.errors import LoadTestError
from loadtest.server.counters import STAGES, stage_totals
from triptych import Client

SIZES = (1, 2, 4, 8, 16, 32)
# max_batch_size of `recognizer`: the client splits larger batches into several concurrent requests.
LARGEST_REQUEST = 8
COLD_GRPC, COLD_HTTP, HOT_GRPC, BATCHES = "gRPC, cold", "HTTP, cold", "gRPC, hot", "batches, cold"
SERIES = (COLD_GRPC, COLD_HTTP, HOT_GRPC, BATCHES)
COUNTED_WITHIN_S = 5

MakeMeasure = Callable[[Call, Iterator[bytes], int, int], Measure]


def make_variants(
    grpc: Call, http: Call, client: Client, new: Callable[[], Iterator[bytes]], seen: list[bytes], make: MakeMeasure
) -> list[Variant]:
    """All variants, each named with its series and its size.

    Args:
        grpc: a call over gRPC.
        http: a call over HTTP.
        client: for batches.
        new: makes a stream of photos that the server has not seen.
        seen: photos in the server's answer cache.
        make: call, photos, concurrency, photos per call -> a function that measures.
    """
    again = itertools.cycle(seen)
    variants = []
    for size in SIZES:
        variants += [
            Variant(f"{COLD_GRPC}, concurrency {size}", make(grpc, new(), size, 1)),
            Variant(f"{COLD_HTTP}, concurrency {size}", make(http, new(), size, 1)),
            Variant(f"{HOT_GRPC}, concurrency {size}", make(grpc, again, size, 1)),
            Variant(f"{BATCHES}, batch size {size}", make(in_batches(client), new(), 1, size)),
        ]
    return variants


def in_batches(client: Client) -> Call:
    """All photos of a call at once, in as few requests as the server allows."""

    def call(photos: list[bytes]) -> object:
        items = client.recognize_many(photos, batch_size=min(len(photos), LARGEST_REQUEST), max_in_flight=len(photos))
        return [item.result() for item in items]

    return call


def with_stages(measure: Measure, http_address: str) -> Measure:
    """The same measurement with the milliseconds per request that Triton counted in each stage of `recognizer`."""

    def measure_with_stages(duration_s: float) -> Measurement:
        before = stage_totals(http_address)["recognizer"]
        measurement = measure(duration_s)
        after = _wait_for_count(http_address, before["requests"] + len(measurement.latencies_s))
        requests = after["requests"] - before["requests"]
        return replace(measurement, stages_ms={name: (after[name] - before[name]) / 1e6 / requests for name in STAGES})

    return measure_with_stages


def _wait_for_count(http_address: str, requests: int) -> dict[str, int]:
    """Totals of `recognizer` once Triton has counted `requests`; Triton counts a request after sending its answer.

    Raises:
        LoadTestError: Triton has not counted them within `COUNTED_WITHIN_S`, so the calls reached another server.
    """
    deadline = time.monotonic() + COUNTED_WITHIN_S
    while (totals := stage_totals(http_address)["recognizer"])["requests"] < requests:
        if time.monotonic() > deadline:
            raise LoadTestError(
                f"Triton at {http_address} counted {totals['requests']} requests of recognizer, expected {requests} "
                f"within {COUNTED_WITHIN_S} s. --target and --http must be the addresses of one server."
            )
        time.sleep(0.01)
    return totals
