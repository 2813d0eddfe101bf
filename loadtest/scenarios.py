"""What the bench measures: which ways of calling, at which concurrency, with which photos."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from loadtest import callers
from loadtest.bench import Contestant, Scenario
from loadtest.callers import Call
from loadtest.ceiling import Ceiling, CeilingShape
from loadtest.driver import ServerProcess, Turn, closed_loop
from loadtest.photos import never_alike, read_photos
from loadtest.yardstick import Yardstick
from triptych import Client

USUAL_PX = (640, 480)
CONCURRENCIES = (1, 4, 16, 32)
BATCH_SIZE = 8


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


def scenarios(place: Field, only: Sequence[str], stack: contextlib.ExitStack) -> Iterator[Scenario]:
    """Each scenario named in `only` (all when empty), made when its turn comes; processes live as long as `stack`."""
    usual = read_photos(place.photos, *USUAL_PX)
    cores = len(os.sched_getaffinity(0))
    ways = _Ways(place, stack)
    yardstick = stack.enter_context(Yardstick(place.repository, processes=cores))
    fastapi = callers.raw_http(yardstick.address, "/recognize"), ServerProcess(yardstick.pid)
    shapes = [CeilingShape(cores, 1), CeilingShape(cores, 1, batch_size=4), CeilingShape(1, 1), CeilingShape(1, cores)]

    def ceilings(chosen: Sequence[CeilingShape], photos: list[bytes]) -> list[Contestant]:
        return [
            Contestant(str(shape), _ceiling_turn(stack.enter_context(Ceiling(place.repository, shape, photos))), True)
            for shape in dict.fromkeys(chosen)
        ]

    made: dict[str, Callable[[], Scenario]] = {}
    lone, crowd = ceilings(shapes[2:], usual), shapes[:2]
    for concurrency in CONCURRENCIES:
        made[f"c{concurrency}"] = lambda concurrency=concurrency: Scenario(  # type: ignore[misc]
            f"640 x 480, {concurrency} caller{'s' * (concurrency > 1)}, one photo a call, none seen before",
            [
                *(_fresh(lone) if concurrency == 1 else ceilings(crowd, usual)),
                *(
                    Contestant(name, _turn(call, server, never_alike(usual), concurrency))
                    for name, call, server in [*ways.all(), ("FastAPI + ONNX Runtime, raw HTTP", *fastapi)]
                ),
            ],
            by_latency=concurrency == 1,
        )
    made["batch"] = lambda: Scenario(
        f"640 x 480, 4 callers, {BATCH_SIZE} photos a call",
        [
            *ceilings(crowd, usual),
            *(
                Contestant(name, _turn(call, ways.server, never_alike(usual), 4, BATCH_SIZE))
                for name, call in (("gRPC, bare", ways.grpc), ("gRPC, tritonclient", ways.tritonclient_grpc))
            ),
        ],
    )
    for name, (width_px, height_px) in (("400px", (400, 300)), ("12mp", (4000, 3000))):
        made[name] = lambda width_px=width_px, height_px=height_px: _sized(  # type: ignore[misc]
            width_px, height_px, place, ways, ceilings, crowd
        )
    made["hot"] = lambda: Scenario(
        "640 x 480, 1 caller, photos seen before (cache)",
        [
            *_fresh(lone),
            *(Contestant(name, _turn(call, server, itertools.cycle(usual), 1)) for name, call, server in ways.all()),
        ],
        by_latency=True,
    )
    for name in only or made:
        yield made[name]()


SCENARIOS = (*(f"c{concurrency}" for concurrency in CONCURRENCIES), "batch", "400px", "12mp", "hot")


class _Ways:
    """The ways to call Triptych, made once: each keeps its connections."""

    def __init__(self, place: Field, stack: contextlib.ExitStack) -> None:
        self.server = ServerProcess(place.pid)
        self.grpc = callers.bare_grpc(place.target)
        self.raw_http = callers.raw_http(place.http_address)
        self.tritonclient_grpc = callers.tritonclient_grpc(place.target)
        self.tritonclient_http = callers.tritonclient_http(place.http_address)
        self.triptych = callers.through_client(stack.enter_context(Client(place.target, timeout_s=60)))

    def all(self) -> list[tuple[str, Call, ServerProcess]]:
        """Name, call, server."""
        return [
            ("gRPC, bare", self.grpc, self.server),
            ("gRPC, tritonclient", self.tritonclient_grpc, self.server),
            ("gRPC, triptych", self.triptych, self.server),
            ("HTTP, raw", self.raw_http, self.server),
            ("HTTP, tritonclient", self.tritonclient_http, self.server),
        ]


def _sized(
    width_px: int,
    height_px: int,
    place: Field,
    ways: _Ways,
    ceilings: Callable[[Sequence[CeilingShape], list[bytes]], list[Contestant]],
    shapes: Sequence[CeilingShape],
) -> Scenario:
    photos = read_photos(place.photos, width_px, height_px)
    return Scenario(
        f"{width_px} x {height_px}, 16 callers, one photo a call, none seen before",
        [
            *ceilings(shapes, photos),
            Contestant("gRPC, bare", _turn(ways.grpc, ways.server, never_alike(photos), 16)),
            Contestant("HTTP, raw", _turn(ways.raw_http, ways.server, never_alike(photos), 16)),
        ],
    )


def _turn(
    call: Call, server: ServerProcess, photos: Iterator[bytes], concurrency: int, batch_size: int = 1
) -> Callable[[float], Turn]:
    def take(duration_s: float) -> Turn:
        return closed_loop(
            call, photos, concurrency=concurrency, batch_size=batch_size, duration_s=duration_s, server=server
        )

    return take


def _ceiling_turn(ceiling: Ceiling) -> Callable[[float], Turn]:
    return lambda duration_s: Turn(*ceiling.run(duration_s))


def _fresh(contestants: Sequence[Contestant]) -> list[Contestant]:
    """The same workers without the turns of an earlier scenario."""
    return [Contestant(it.name, it.take_turn, it.is_ceiling) for it in contestants]
