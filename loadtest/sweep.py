"""The sweep: concurrency 1-32, batch 1-32, cache cold and hot, gRPC and HTTP, all taking turns in one scenario."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from loadtest.bench import Contestant, TakeTurn
from loadtest.callers import Call
from loadtest.driver import Turn
from loadtest.errors import LoadTestError
from loadtest.report import STAGES, stage_totals
from triptych import Client

SIZES = (1, 2, 4, 8, 16, 32)
# recognizer's max_batch_size: larger batches travel as several requests at once.
LARGEST_REQUEST = 8
COLD_GRPC, COLD_HTTP, HOT_GRPC, BATCHES = "gRPC, cold", "HTTP, cold", "gRPC, hot", "batches, cold"
COUNTED_WITHIN_S = 5
SERIES = (COLD_GRPC, COLD_HTTP, HOT_GRPC, BATCHES)

MakeTurn = Callable[[Call, Iterator[bytes], int, int], TakeTurn]


def make_contestants(
    grpc: Call, http: Call, client: Client, new: Callable[[], Iterator[bytes]], seen: list[bytes], make: MakeTurn
) -> list[Contestant]:
    """All of them, named `series, size`.

    Args:
        grpc: a call over gRPC.
        http: a call over HTTP.
        client: for batches.
        new: photos that the server never saw.
        seen: photos that it answers from its cache once it has seen them.
        make: call, photos, concurrency, photos a call -> a turn.
    """
    again = itertools.cycle(seen)
    contestants = []
    for size in SIZES:
        callers = f"{size} caller{'s' * (size > 1)}"
        contestants += [
            Contestant(f"{COLD_GRPC}, {callers}", make(grpc, new(), size, 1)),
            Contestant(f"{COLD_HTTP}, {callers}", make(http, new(), size, 1)),
            Contestant(f"{HOT_GRPC}, {callers}", make(grpc, again, size, 1)),
            Contestant(f"{BATCHES}, of {size}", make(in_batches(client), new(), 1, size)),
        ]
    return contestants


def in_batches(client: Client) -> Call:
    """So many photos at once, in as few requests as the server allows, those in flight together."""

    def call(photos: list[bytes]) -> object:
        items = client.recognize_many(photos, batch_size=min(len(photos), LARGEST_REQUEST), max_in_flight=len(photos))
        return [item.result() for item in items]

    return call


def with_stages(take: TakeTurn, http_address: str) -> TakeTurn:
    """The same turn, with the milliseconds that Triton counted in each stage of `recognizer`, a request."""

    def timed(duration_s: float) -> Turn:
        before = stage_totals(http_address)["recognizer"]
        turn = take(duration_s)
        after = _stages_once_counted(http_address, before["requests"] + len(turn.latencies_s))
        requests = after["requests"] - before["requests"]
        return replace(turn, stages_ms={name: (after[name] - before[name]) / 1e6 / requests for name in STAGES})

    return timed


def _stages_once_counted(http_address: str, requests: int) -> dict[str, int]:
    """Totals of `recognizer` once Triton has counted `requests`; it counts a request after it has sent the answer.

    Raises:
        LoadTestError: they are not counted within `COUNTED_WITHIN_S`: the calls reached another server.
    """
    deadline = time.monotonic() + COUNTED_WITHIN_S
    while (totals := stage_totals(http_address)["recognizer"])["requests"] < requests:
        if time.monotonic() > deadline:
            raise LoadTestError(
                f"Triton at {http_address} counted {totals['requests']} requests of recognizer, not the {requests} that "
                "were answered. --target and --http must name the same server; pass the two addresses of one."
            )
        time.sleep(0.01)
    return totals
