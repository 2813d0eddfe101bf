"""Users of a shop, for Locust: over gRPC and over HTTP, both through `triptych`.

    python -m loadtest locust smoke               prepares, runs this file, judges: the usual way
    python -m locust -f loadtest/locustfile.py GrpcUser --host 127.0.0.1:8001      by hand, web UI on 8089

`python -m` finds `loadtest` in the current folder, the checkout; the command `locust` looks beside this file alone.
Importing Locust patches the standard library for gevent, so nothing but a locust process may import this file.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import grpc.experimental.gevent
from locust import LoadTestShape, User, events, tag, task
from locust.runners import MasterRunner, WorkerRunner

# After Locust's patches and before the first object of gRPC. Without it a call holds the whole loop: 16 users over a
# way of 200 ms with 0.1 s of thought made 1.8 calls/s, with it 44.8, one alone 2.8 (2026-11-28; tests/e2e keeps it so).
grpc.experimental.gevent.init_gevent()

from loadtest.locust_process import LocustProcess, add_options  # noqa: E402
from loadtest.traffic import EMBED, NO_RETRY, RECOGNIZE, SEARCH  # noqa: E402
from triptych import Client  # noqa: E402

_SHAPE = os.environ.get("TRIPTYCH_LOAD_SHAPE", "")
_process: LocustProcess | None = None


@events.init_command_line_parser.add_listener
def _add_options(parser: Any) -> None:
    add_options(parser)


@events.init.add_listener
def _prepare(environment: Any, **_: Any) -> None:
    global _process
    is_part = isinstance(environment.runner, WorkerRunner)
    _process = LocustProcess(environment, is_worker=is_part)
    if is_part:
        events.report_to_master.add_listener(lambda client_id, data: _process.tell(data))
    if isinstance(environment.runner, MasterRunner):
        events.worker_report.add_listener(lambda client_id, data: _process.hear(data))


@events.quitting.add_listener
def _write(environment: Any, **_: Any) -> None:
    if _process is not None and not isinstance(environment.runner, WorkerRunner):
        _process.write()


class _ShopUser(User):
    """Draws a photo, waits for the answer, thinks, goes on: a closed loop.

    Attributes:
        carrier: of `triptych.Client`.
    """

    abstract = True
    carrier: ClassVar[Any]

    def wait_time(self) -> float:
        return float(self.environment.parsed_options.think_s)

    def on_start(self) -> None:
        """A connection of its own, as another process of the shop has one."""
        options = self.environment.parsed_options
        target = options.http if self.carrier == "http" else (self.host or options.target)
        self.client = Client(target, transport=self.carrier, retry=NO_RETRY, timeout_s=options.timeout_s)

    def on_stop(self) -> None:
        self.client.close()

    @tag(RECOGNIZE)
    @task(6)
    def recognize(self) -> None:
        """Labels and embedding; now and then of what is no photo."""
        self._call(RECOGNIZE)

    @tag(EMBED)
    @task(2)
    def embed(self) -> None:
        """The embedding alone."""
        self._call(EMBED)

    @tag(SEARCH)
    @task(2)
    def search(self) -> None:
        """The nearest products; recognises where the server's catalogue is empty."""
        assert _process is not None
        self._call(SEARCH if _process.has_catalogue else RECOGNIZE)

    def _call(self, kind: str) -> None:
        assert _process is not None
        outcome = _process.traffic.call(self.client, kind)
        self.environment.events.request.fire(
            request_type=self.carrier,
            name=outcome.kind,
            response_time=outcome.latency_s * 1e3,
            response_length=0,
            exception=outcome.error,
            context={},
        )


class GrpcUser(_ShopUser):
    """Over gRPC."""

    carrier = "grpc"


class HttpUser(_ShopUser):
    """Over HTTP: binary tensors, one kept-alive connection."""

    carrier = "http"


class ScheduledShape(LoadTestShape):
    """The shape that `python -m loadtest locust` named; without one, Locust's own --users and --run-time count."""

    abstract = not _SHAPE

    def tick(self) -> tuple[int, float] | None:
        """Users wanted now, and how many of them may come or go in a second."""
        assert _process is not None
        users = _process.users_at(self.get_run_time())
        return None if users is None else (users, 100.0)
