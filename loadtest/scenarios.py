"""What the bench measures: which ways of calling, at which concurrency, with which photos."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from loadtest import callers, sweep
from loadtest.bench import Contestant, Scenario, TakeTurn
from loadtest.callers import Call
from loadtest.ceiling import Ceiling, CeilingShape
from loadtest.driver import ServerProcess, Turn, closed_loop
from loadtest.photos import never_alike, read_photos
from loadtest.yardstick import Yardstick
from triptych import Client

USUAL_PX = (640, 480)
CONCURRENCIES = (1, 4, 16, 32)
BATCH_SIZE = 8
SIZES_PX = {"400px": (400, 300), "12mp": (4000, 3000)}
SCENARIOS = (*(f"c{concurrency}" for concurrency in CONCURRENCIES), "batch", *SIZES_PX, "hot", "sweep")


@dataclass(frozen=True)
class Field:
    """Where the bench takes place: a running server, the repository it serves, the photos.

    Attributes:
        target: host and port of gRPC.
        http_address: host and port of HTTP.
        pid: of the server, on this machine.
    """

    target: str
    http_address: str
    pid: int
    repository: Path
    photos: Path


class Scenarios:
    """The scenarios by name, each made when asked for; servers and workers live as long as `stack`."""

    def __init__(self, place: Field, stack: contextlib.ExitStack) -> None:
        self._place = place
        self._stack = stack
        self._cores = len(os.sched_getaffinity(0))
        self._usual = read_photos(place.photos, *USUAL_PX)
        self._server = ServerProcess(place.pid)
        self._grpc = callers.bare_grpc(place.target)
        self._raw_http = callers.raw_http(place.http_address)
        self._tritonclient_grpc = callers.tritonclient_grpc(place.target)
        yardstick = stack.enter_context(Yardstick(place.repository, processes=self._cores))
        self._yardstick = callers.raw_http(yardstick.address, "/recognize"), ServerProcess(yardstick.pid)
        self._client = stack.enter_context(Client(place.target, timeout_s=60))
        self._ways = [
            ("gRPC, bare", self._grpc),
            ("gRPC, tritonclient", self._tritonclient_grpc),
            ("gRPC, triptych", callers.through_client(self._client)),
            ("HTTP, raw", self._raw_http),
            ("HTTP, tritonclient", callers.tritonclient_http(place.http_address)),
        ]
        self._usual_ceilings: dict[CeilingShape, Ceiling] = {}

    def make(self, name: str) -> Scenario:
        """One of `SCENARIOS`."""
        if name in SIZES_PX:
            return self._sized(*SIZES_PX[name])
        others = {"batch": self._batch, "hot": self._hot, "sweep": self._sweep}
        return others[name]() if name in others else self._callers(int(name[1:]))

    def _callers(self, concurrency: int) -> Scenario:
        yardstick, its_process = self._yardstick
        return Scenario(
            f"640 x 480, {concurrency} caller{'s' * (concurrency > 1)}, one photo a call, none seen before",
            [
                *self._ceilings(is_lone=concurrency == 1),
                *(self._contestant(name, call, concurrency) for name, call in self._ways),
                Contestant(
                    "FastAPI + ONNX Runtime, raw HTTP",
                    _turn(yardstick, its_process, never_alike(self._usual), concurrency),
                ),
            ],
            by_latency=concurrency == 1,
        )

    def _batch(self) -> Scenario:
        ways = (("gRPC, bare", self._grpc), ("gRPC, tritonclient", self._tritonclient_grpc))
        return Scenario(
            f"640 x 480, 4 callers, {BATCH_SIZE} photos a call",
            [*self._ceilings(), *(self._contestant(name, call, 4, BATCH_SIZE) for name, call in ways)],
        )

    def _hot(self) -> Scenario:
        seen = itertools.cycle(self._usual)
        return Scenario(
            "640 x 480, 1 caller, photos seen before (cache)",
            [
                *self._ceilings(is_lone=True),
                *(Contestant(name, _turn(call, self._server, seen, 1)) for name, call in self._ways),
            ],
            by_latency=True,
        )

    def _sweep(self) -> Scenario:
        def make(call: Call, photos: Iterator[bytes], concurrency: int, batch_size: int) -> TakeTurn:
            turn = _turn(call, self._server, photos, concurrency, batch_size)
            return sweep.with_stages(turn, self._place.http_address)

        for photo in self._usual:
            self._grpc([photo])  # from now on in the server's cache
        contestants = sweep.make_contestants(
            self._grpc, self._raw_http, self._client, lambda: never_alike(self._usual), self._usual, make
        )
        return Scenario(
            "640 x 480, 1 to 32 callers or photos a call, cache cold and hot", [*self._ceilings(), *contestants]
        )

    def _sized(self, width_px: int, height_px: int) -> Scenario:
        photos = read_photos(self._place.photos, width_px, height_px)
        ceilings = [self._open(shape, photos) for shape in self._crowd_shapes]
        ways = (("gRPC, bare", self._grpc), ("HTTP, raw", self._raw_http))
        return Scenario(
            f"{width_px} x {height_px}, 16 callers, one photo a call, none seen before",
            [
                *(_ceiling_contestant(ceiling) for ceiling in ceilings),
                *(Contestant(name, _turn(call, self._server, never_alike(photos), 16)) for name, call in ways),
            ],
        )

    def _contestant(self, name: str, call: Call, concurrency: int, batch_size: int = 1) -> Contestant:
        return Contestant(name, _turn(call, self._server, never_alike(self._usual), concurrency, batch_size))

    @property
    def _crowd_shapes(self) -> tuple[CeilingShape, ...]:
        return CeilingShape(self._cores, 1), CeilingShape(self._cores, 1, batch_size=4)

    def _ceilings(self, is_lone: bool = False) -> list[Contestant]:
        """The usual photos without a server: for one caller by threads, for many by processes and batch."""
        shapes = (CeilingShape(1, 1), CeilingShape(1, self._cores)) if is_lone else self._crowd_shapes
        for shape in shapes:
            if shape not in self._usual_ceilings:
                self._usual_ceilings[shape] = self._open(shape, self._usual)
        return [_ceiling_contestant(self._usual_ceilings[shape]) for shape in dict.fromkeys(shapes)]

    def _open(self, shape: CeilingShape, photos: list[bytes]) -> Ceiling:
        return self._stack.enter_context(Ceiling(self._place.repository, shape, photos))


def _turn(
    call: Call, server: ServerProcess, photos: Iterator[bytes], concurrency: int, batch_size: int = 1
) -> Callable[[float], Turn]:
    def take(duration_s: float) -> Turn:
        return closed_loop(
            call, photos, concurrency=concurrency, batch_size=batch_size, duration_s=duration_s, server=server
        )

    return take


def _ceiling_contestant(ceiling: Ceiling) -> Contestant:
    return Contestant(str(ceiling.shape), lambda duration_s: Turn(*ceiling.run(duration_s)), is_ceiling=True)
