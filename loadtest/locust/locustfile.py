"""Locust users of a shop over gRPC and over HTTP, both through `triptych`.

    triptych loadtest locust smoke               prepares, runs this file and checks the result: the usual way
    python -m locust -f loadtest/locust/locustfile.py GrpcUser --host 127.0.0.1:8001      manual, web UI on port 8089

Run it from the checkout: `python -m` finds the package `loadtest` in the current folder, the command `locust` does not.
Importing Locust patches the standard library for gevent, so only a Locust process may import this file.
"""

from __future__ import annotations

import os
from typing import Any, ClassVar

import grpc.experimental.gevent
from locust import LoadTestShape, User, events, tag, task
from locust.runners import MasterRunner, WorkerRunner

# After Locust's patches and before the first object of gRPC. Without it one call blocks all greenlets: 16 users with a
# network delay of 200 ms and 0.1 s of think time made 1.8 calls/s, with it 44.8 (2026-11-28; tests/e2e checks it).
grpc.experimental.gevent.init_gevent()

from loadtest.files import PHOTOS  # noqa: E402
from loadtest.locust.process_state import ProcessState  # noqa: E402
from loadtest.locust.settings import add_options  # noqa: E402
from loadtest.traffic.calls import EMBED, NO_RETRY, RECOGNIZE, SEARCH  # noqa: E402
from triptych import Client  # noqa: E402

TIMEOUT_S = 10.0
_SHAPE = os.environ.get("TRIPTYCH_LOAD_SHAPE", "")
_state: ProcessState | None = None


@events.init_command_line_parser.add_listener
def _add_options(parser: Any) -> None:
    group = parser.add_argument_group("Triptych")
    add_options(group)
    group.add_argument("--under-ms", type=float, default=250.0, help="latency bound of the objective")
    group.add_argument("--photos", default=str(PHOTOS), help="folder of *.jpg")
    group.add_argument("--prepared", default="", help="file with a corpus and reference answers, instead of --photos")
    group.add_argument("--result-file", default="", help="JSON file to write at the end")


@events.init.add_listener
def _prepare(environment: Any, **_: Any) -> None:
    global _state
    is_worker = isinstance(environment.runner, WorkerRunner)
    _state = state = ProcessState(environment, is_worker, _SHAPE)
    if is_worker:
        events.report_to_master.add_listener(lambda client_id, data: data.update(triptych=state.take_report()))
    if isinstance(environment.runner, MasterRunner):
        # A worker may report before it has run this function.
        events.worker_report.add_listener(lambda client_id, data: state.merge_report(data.get("triptych")))


@events.quitting.add_listener
def _write(environment: Any, **_: Any) -> None:
    if _state is not None and not isinstance(environment.runner, WorkerRunner):
        _state.write_result()


class _ShopUser(User):
    """Sends a photo, waits for the answer, waits the think time, and repeats: a closed loop.

    Attributes:
        transport: of `triptych.Client`.
    """

    abstract = True
    transport: ClassVar[Any]

    def wait_time(self) -> float:
        return float(self.environment.parsed_options.think_s)

    def on_start(self) -> None:
        """Opens a connection of its own, as each process of a shop does."""
        options = self.environment.parsed_options
        target = options.http if self.transport == "http" else (self.host or options.target)
        self.client = Client(target, transport=self.transport, retry=NO_RETRY, timeout_s=TIMEOUT_S, source="internal")

    def on_stop(self) -> None:
        self.client.close()

    @tag(RECOGNIZE)
    @task(6)
    def recognize(self) -> None:
        """Labels and embedding; some photos are invalid."""
        self._call(RECOGNIZE)

    @tag(EMBED)
    @task(2)
    def embed(self) -> None:
        self._call(EMBED)

    @tag(SEARCH)
    @task(2)
    def search(self) -> None:
        """The nearest products; recognizes where the server's catalogue is empty."""
        assert _state is not None
        self._call(SEARCH if _state.has_catalogue else RECOGNIZE)

    def _call(self, kind: str) -> None:
        assert _state is not None
        outcome = _state.calls.call(self.client, kind)
        self.environment.events.request.fire(
            request_type=self.transport,
            name=outcome.kind,
            response_time=outcome.latency_s * 1e3,
            response_length=0,
            exception=outcome.error,
            context={},
        )


class GrpcUser(_ShopUser):
    transport = "grpc"


class HttpUser(_ShopUser):
    """Over HTTP with binary tensors and one kept-alive connection."""

    transport = "http"


class ScheduledShape(LoadTestShape):
    """The shape named by `triptych loadtest locust`; without one, Locust's --users and --run-time apply."""

    abstract = not _SHAPE

    def tick(self) -> tuple[int, float] | None:
        """Users, and the number of users to start or stop per second."""
        assert _state is not None
        users = _state.users_at(self.get_run_time())
        return None if users is None else (users, 100.0)
