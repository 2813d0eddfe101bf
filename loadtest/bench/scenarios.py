"""The scenarios of the bench: call methods, concurrency, and photos."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from loadtest.bench import call_methods
from loadtest.bench.closed_loop import Call, Measure, measure_closed_loop, with_stages
from loadtest.bench.fastapi_baseline import run_fastapi
from loadtest.bench.in_process_baseline import WorkerLayout, start_workers
from loadtest.bench.scenario import BATCH_SIZE, SIZES_PX, SWEEP_SIZES, USUAL_PX, Scenario, Variant
from loadtest.errors import LoadTestError
from loadtest.server.process import ServerProcess
from loadtest.traffic.corpus import read_photos, unique_photos
from triptych import Client


class Scenarios:
    """Makes scenarios of a running server on this machine; baselines and connections live as long as `stack`.

    `repository` is the folder that it serves; `target` and `http_address` are a host and a port.
    """

    def __init__(
        self, target: str, http_address: str, pid: int, repository: Path, photos: Path, stack: contextlib.ExitStack
    ) -> None:
        self._http_address = http_address
        self._repository = repository
        self._photos = photos
        self._stack = stack
        self._cores = len(os.sched_getaffinity(0))
        self._usual = read_photos(photos, *USUAL_PX)
        self._server = ServerProcess(pid)
        self._client = stack.enter_context(Client(target, timeout_s=60, source="internal"))
        self._fastapi_address, fastapi_pid = stack.enter_context(run_fastapi(repository, self._cores))
        self._fastapi = ServerProcess(fastapi_pid)
        self._methods = {
            "gRPC, bare": call_methods.bare_grpc(target),
            "gRPC, tritonclient": call_methods.tritonclient_grpc(target),
            "gRPC, triptych": call_methods.triptych_client(self._client),
            "HTTP, raw": call_methods.raw_http(http_address),
            "HTTP, tritonclient": call_methods.tritonclient_http(http_address),
        }
        self._usual_baselines: dict[WorkerLayout, Variant] = {}

    def make(self, name: str) -> Scenario:
        """One of `SCENARIOS`."""
        if name in SIZES_PX:
            return self._sized(*SIZES_PX[name])
        others = {
            "batch": self._batch,
            "hot": self._hot,
            "front": lambda: self._front(unique_photos, 16),
            "front-hot": lambda: self._front(itertools.cycle, 1),
            "sweep": self._sweep,
        }
        return others[name]() if name in others else self._concurrent(int(name[1:]))

    def _concurrent(self, concurrency: int) -> Scenario:
        fastapi = call_methods.raw_http(self._fastapi_address, "/recognize")
        photos = unique_photos(self._usual)
        return Scenario(
            f"640 x 480, concurrency {concurrency}, one photo per call, no photo sent twice",
            [
                *self._baselines(is_single=concurrency == 1),
                *self._variants(list(self._methods), unique_photos, self._usual, concurrency),
                Variant("FastAPI + ONNX Runtime, raw HTTP", _measure(fastapi, photos, self._fastapi, concurrency)),
            ],
            by_latency=concurrency == 1,
        )

    def _batch(self) -> Scenario:
        methods = ["gRPC, bare", "gRPC, tritonclient"]
        return Scenario(
            f"640 x 480, concurrency 4, {BATCH_SIZE} photos per call",
            [*self._baselines(), *self._variants(methods, unique_photos, self._usual, 4, BATCH_SIZE)],
        )

    def _hot(self) -> Scenario:
        variants = self._variants(list(self._methods), itertools.cycle, self._usual, 1)
        return Scenario(
            "640 x 480, concurrency 1, photos answered from the cache",
            [*self._baselines(is_single=True), *variants],
            by_latency=True,
        )

    def _front(self, repeat: Callable[[list[bytes]], Iterator[bytes]], concurrency: int) -> Scenario:
        """The proxy in front of the server, and the server's own port behind it."""
        target, key = os.environ.get("TRIPTYCH_INNER_TARGET"), os.environ.get("TRIPTYCH_FRONT_KEY", "")
        if target is None:
            raise LoadTestError("Only `triptych run -- triptych loadtest bench front` knows what passes by the front.")
        name, _, value = key.partition("=")
        past = call_methods.bare_grpc(target, [(f"triton-grpc-protocol-{name}", value)])
        through, is_single = self._methods["gRPC, bare"], concurrency == 1
        kind = "answers from the cache" if is_single else "no photo sent twice"
        return Scenario(
            f"640 x 480, concurrency {concurrency}, {kind}, through the front and past it",
            [
                *self._baselines(is_single=is_single),
                Variant("gRPC, through the front", _measure(through, repeat(self._usual), self._server, concurrency)),
                Variant("gRPC, past the front", _measure(past, repeat(self._usual), self._server, concurrency)),
            ],
            by_latency=is_single,
        )

    def _sized(self, width_px: int, height_px: int) -> Scenario:
        photos = read_photos(self._photos, width_px, height_px)
        return Scenario(
            f"{width_px} x {height_px}, concurrency 16, one photo per call, no photo sent twice",
            [
                *(self._baseline(layout, photos) for layout in self._layouts),
                *self._variants(["gRPC, bare", "HTTP, raw"], unique_photos, photos, 16),
            ],
        )

    def _sweep(self) -> Scenario:
        grpc, http = self._methods["gRPC, bare"], self._methods["HTTP, raw"]
        batches, usual = call_methods.in_batches(self._client), self._usual
        for photo in usual:
            grpc([photo])  # fills the answer cache
        variants = []
        for size in SWEEP_SIZES:
            measures = {
                f"gRPC, cold, concurrency {size}": _measure(grpc, unique_photos(usual), self._server, size),
                f"HTTP, cold, concurrency {size}": _measure(http, unique_photos(usual), self._server, size),
                f"gRPC, hot, concurrency {size}": _measure(grpc, itertools.cycle(usual), self._server, size),
                f"batches, cold, batch size {size}": _measure(batches, unique_photos(usual), self._server, 1, size),
            }
            variants += [Variant(name, with_stages(measure, self._http_address)) for name, measure in measures.items()]
        return Scenario(
            "640 x 480, concurrency or batch size 1 to 32, with and without the cache", [*self._baselines(), *variants]
        )

    def _variants(
        self,
        methods: list[str],
        repeat: Callable[[list[bytes]], Iterator[bytes]],
        photos: list[bytes],
        concurrency: int,
        batch_size: int = 1,
    ) -> list[Variant]:
        return [
            Variant(name, _measure(self._methods[name], repeat(photos), self._server, concurrency, batch_size))
            for name in methods
        ]

    @property
    def _layouts(self) -> tuple[WorkerLayout, ...]:
        return WorkerLayout(self._cores, 1), WorkerLayout(self._cores, 1, batch_size=4)

    def _baselines(self, is_single: bool = False) -> list[Variant]:
        """In-process baselines: for concurrency 1 with 1 thread and with all cores, else by batch size."""
        layouts = (WorkerLayout(1, 1), WorkerLayout(1, self._cores)) if is_single else self._layouts
        for layout in layouts:
            if layout not in self._usual_baselines:
                self._usual_baselines[layout] = self._baseline(layout, self._usual)
        return [replace(self._usual_baselines[layout], measurements=[]) for layout in dict.fromkeys(layouts)]

    def _baseline(self, layout: WorkerLayout, photos: list[bytes]) -> Variant:
        measure = self._stack.enter_context(start_workers(self._repository, layout, photos))
        return Variant(str(layout), measure, is_in_process=True)


def _measure(
    call: Call, photos: Iterator[bytes], server: ServerProcess, concurrency: int, batch_size: int = 1
) -> Measure:
    return functools.partial(
        measure_closed_loop, call, photos, server=server, concurrency=concurrency, batch_size=batch_size
    )
