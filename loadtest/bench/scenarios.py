"""The scenarios of the bench: call methods, concurrency, and photos."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench import call_methods, sweep
from loadtest.bench.call_methods import Call
from loadtest.bench.closed_loop import Measurement, measure_closed_loop
from loadtest.bench.fastapi_baseline import FastApiBaseline
from loadtest.bench.in_process_baseline import InProcessBaseline, WorkerLayout
from loadtest.bench.scenario import BATCH_SIZE, SIZES_PX, USUAL_PX, Measure, Scenario, Variant
from loadtest.server.process import ServerProcess
from loadtest.traffic.photos import read_photos, unique_photos
from triptych import Client


@dataclass(frozen=True)
class BenchSetup:
    """A running server on this machine, the repository that it serves, and the photos.

    Attributes:
        target: host and port of gRPC.
        http_address: host and port of HTTP.
        pid: of the server.
    """

    target: str
    http_address: str
    pid: int
    repository: Path
    photos: Path


class Scenarios:
    """Makes scenarios by name; baselines and connections live as long as `stack`."""

    def __init__(self, setup: BenchSetup, stack: contextlib.ExitStack) -> None:
        self._setup = setup
        self._stack = stack
        self._cores = len(os.sched_getaffinity(0))
        self._usual = read_photos(setup.photos, *USUAL_PX)
        self._server = ServerProcess(setup.pid)
        self._grpc = call_methods.bare_grpc(setup.target)
        self._raw_http = call_methods.raw_http(setup.http_address)
        self._tritonclient_grpc = call_methods.tritonclient_grpc(setup.target)
        fastapi = stack.enter_context(FastApiBaseline(setup.repository, processes=self._cores))
        self._fastapi = call_methods.raw_http(fastapi.address, "/recognize"), ServerProcess(fastapi.pid)
        self._client = stack.enter_context(Client(setup.target, timeout_s=60))
        self._methods = [
            ("gRPC, bare", self._grpc),
            ("gRPC, tritonclient", self._tritonclient_grpc),
            ("gRPC, triptych", call_methods.triptych_client(self._client)),
            ("HTTP, raw", self._raw_http),
            ("HTTP, tritonclient", call_methods.tritonclient_http(setup.http_address)),
        ]
        self._usual_baselines: dict[WorkerLayout, InProcessBaseline] = {}

    def make(self, name: str) -> Scenario:
        """One of `SCENARIOS`."""
        if name in SIZES_PX:
            return self._sized(*SIZES_PX[name])
        others = {"batch": self._batch, "hot": self._hot, "sweep": self._sweep}
        return others[name]() if name in others else self._concurrent(int(name[1:]))

    def _concurrent(self, concurrency: int) -> Scenario:
        call, process = self._fastapi
        fastapi = _measure(call, process, unique_photos(self._usual), concurrency)
        return Scenario(
            f"640 x 480, concurrency {concurrency}, one photo per call, no photo sent twice",
            [
                *self._baselines(is_single=concurrency == 1),
                *(self._variant(name, method, concurrency) for name, method in self._methods),
                Variant("FastAPI + ONNX Runtime, raw HTTP", fastapi),
            ],
            by_latency=concurrency == 1,
        )

    def _batch(self) -> Scenario:
        methods = (("gRPC, bare", self._grpc), ("gRPC, tritonclient", self._tritonclient_grpc))
        return Scenario(
            f"640 x 480, concurrency 4, {BATCH_SIZE} photos per call",
            [*self._baselines(), *(self._variant(name, method, 4, BATCH_SIZE) for name, method in methods)],
        )

    def _hot(self) -> Scenario:
        seen = itertools.cycle(self._usual)
        return Scenario(
            "640 x 480, concurrency 1, photos answered from the cache",
            [
                *self._baselines(is_single=True),
                *(Variant(name, _measure(method, self._server, seen, 1)) for name, method in self._methods),
            ],
            by_latency=True,
        )

    def _sweep(self) -> Scenario:
        def make(call: Call, photos: Iterator[bytes], concurrency: int, batch_size: int) -> Measure:
            measure = _measure(call, self._server, photos, concurrency, batch_size)
            return sweep.with_stages(measure, self._setup.http_address)

        for photo in self._usual:
            self._grpc([photo])  # fills the answer cache
        variants = sweep.make_variants(
            self._grpc, self._raw_http, self._client, lambda: unique_photos(self._usual), self._usual, make
        )
        return Scenario(
            "640 x 480, concurrency or batch size 1 to 32, with and without the cache", [*self._baselines(), *variants]
        )

    def _sized(self, width_px: int, height_px: int) -> Scenario:
        photos = read_photos(self._setup.photos, width_px, height_px)
        methods = (("gRPC, bare", self._grpc), ("HTTP, raw", self._raw_http))
        return Scenario(
            f"{width_px} x {height_px}, concurrency 16, one photo per call, no photo sent twice",
            [
                *(_baseline_variant(self._open(layout, photos)) for layout in self._layouts),
                *(Variant(name, _measure(method, self._server, unique_photos(photos), 16)) for name, method in methods),
            ],
        )

    def _variant(self, name: str, call: Call, concurrency: int, batch_size: int = 1) -> Variant:
        return Variant(name, _measure(call, self._server, unique_photos(self._usual), concurrency, batch_size))

    @property
    def _layouts(self) -> tuple[WorkerLayout, ...]:
        return WorkerLayout(self._cores, 1), WorkerLayout(self._cores, 1, batch_size=4)

    def _baselines(self, is_single: bool = False) -> list[Variant]:
        """In-process baselines: for concurrency 1 with 1 thread and with all cores, else by batch size."""
        layouts = (WorkerLayout(1, 1), WorkerLayout(1, self._cores)) if is_single else self._layouts
        for layout in layouts:
            if layout not in self._usual_baselines:
                self._usual_baselines[layout] = self._open(layout, self._usual)
        return [_baseline_variant(self._usual_baselines[layout]) for layout in dict.fromkeys(layouts)]

    def _open(self, layout: WorkerLayout, photos: list[bytes]) -> InProcessBaseline:
        return self._stack.enter_context(InProcessBaseline(self._setup.repository, layout, photos))


def _measure(
    call: Call, server: ServerProcess, photos: Iterator[bytes], concurrency: int, batch_size: int = 1
) -> Measure:
    def measure(duration_s: float) -> Measurement:
        return measure_closed_loop(
            call, photos, concurrency=concurrency, batch_size=batch_size, duration_s=duration_s, server=server
        )

    return measure


def _baseline_variant(baseline: InProcessBaseline) -> Variant:
    return Variant(str(baseline.layout), lambda duration_s: Measurement(*baseline.run(duration_s)), is_in_process=True)
