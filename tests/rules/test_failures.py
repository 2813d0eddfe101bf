"""What the rules make of failures on the real server: each counted once, and a dead model process noticed."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton

from ops.observability.prometheus.local_prometheus import LocalPrometheus, run_prometheus
from ops.observability.render import OBJECTIVE_RULES, SERVER_RULES, read_deployment, render_rules
from ops.observability.rules.indicators import SHORTEST_S, availability
from ops.server.local_server import LocalServer
from ops.server.server_binary import STUB
from ops.settings import Settings
from tests.rules.conftest import find_program, wait_for

SCRAPE_S = 0.5
TIMEOUT_S = 20.0
GOOD, REFUSED, FAILED = 24, 6, 8
# Windows of the alerts: 2 minutes are 4 s. Of the count: 5 minutes are 2 minutes, longer than all that is counted.
ALERT_SCALE, COUNT_SCALE = 1 / 30, 0.4
# rate() extends what it has seen to the ends of its window, by half the time between samples at most.
TOLERANCE = 0.05


class Caller:
    """Sends photos one by one to `recognizer`."""

    def __init__(self, server: LocalServer, photos: list[Path]) -> None:
        self._client = triton.InferenceServerClient(server.grpc_target)
        self._photos = [photo.read_bytes() for photo in photos]
        self._sent = 0

    def close(self) -> None:
        self._client.close()

    def send(self, content: bytes | None = None) -> str | None:
        """A new photo, or this; the name of the error it got."""
        self._sent += 1
        photo = content or self._photos[self._sent % len(self._photos)] + self._sent.to_bytes(4, "big")
        image = triton.InferInput("image", [1, 1], "BYTES")
        image.set_data_from_numpy(np.array([[photo]], dtype=object))
        try:
            self._client.infer("recognizer", [image], client_timeout=TIMEOUT_S)
        except triton.InferenceServerException as error:
            return str(error.status())
        return None


@pytest.fixture(params=["cpu", None], ids=["fused", "ensemble"])
def doomed(request: pytest.FixtureRequest) -> Iterator[LocalServer]:
    """A server of this test's own, whose processes may be killed."""
    find_program("prometheus")
    with LocalServer(Settings(http_port=0, grpc_port=0, metrics_port=0, profile=request.param)) as server:
        yield server


def kill_stubs(server: LocalServer, model: str) -> int:
    """Kills every process of the model, by pid; they are children of the server."""
    stubs = [
        child
        for child in psutil.Process(server.pid).children(recursive=True)
        if child.cmdline() and child.cmdline()[0].endswith(STUB) and any(f"/{model}/" in one for one in child.cmdline())
    ]
    for stub in stubs:
        stub.kill()
    psutil.wait_procs(stubs, timeout=TIMEOUT_S)
    return len(stubs)


def test_failures_count_once_and_a_dead_model_fires(doomed: LocalServer, photos: list[Path]) -> None:
    fused = doomed.settings.profile == "cpu"
    dead = "recognizer" if fused else "embedder"
    deployment = read_deployment(time_scale=ALERT_SCALE)
    rendered = render_rules(deployment)
    targets: dict[str, dict[str, str]] = {f"127.0.0.1:{doomed.ports.metrics}": {}}
    rules = [rendered[OBJECTIVE_RULES], rendered[SERVER_RULES]]
    caller = Caller(doomed, photos)
    with run_prometheus(targets, deployment.objectives.job, rules, SCRAPE_S) as prometheus:
        assert wait_for(lambda: bool(prometheus.query("sum(nv_inference_request_success)")))
        assert [caller.send() for _ in range(GOOD)] == [None] * GOOD
        refused = {caller.send(b"not a photo") for _ in range(REFUSED)}
        assert refused == {"StatusCode.INVALID_ARGUMENT"}
        # A process hands over its counts once a second, and takes what it has not handed over along when it dies.
        assert wait_for(lambda: read(prometheus, 'sum(triptych_refusals_total{code="image_unreadable"})') == [REFUSED])
        assert "TriptychModelStalled" not in prometheus.firing()

        assert kill_stubs(doomed, dead) >= 1
        assert [caller.send() for _ in range(FAILED)] == ["StatusCode.INTERNAL"] * FAILED
        assert_counted(prometheus, FAILED, GOOD + FAILED)

        def is_noticed() -> bool:
            caller.send()
            return "TriptychModelStalled" in prometheus.firing()

        assert wait_for(is_noticed)
        stalled = prometheus.firing()["TriptychModelStalled"]
        assert [(labels["model"], labels["severity"]) for labels in stalled] == [(dead, "page")]
        # Why the rule does not ask for readiness: 2.51 does not notice.
        with urllib.request.urlopen(f"{doomed.http_url}/v2/health/ready", timeout=TIMEOUT_S) as answer:
            assert answer.status == 200
    caller.close()


def read(prometheus: LocalPrometheus, *expressions: str) -> list[float]:
    return [float(row["value"][1]) for expr in expressions for row in prometheus.query(expr)]


def assert_counted(prometheus: LocalPrometheus, failed: int, total: int) -> None:
    """The availability rules' own expressions, over a window that holds everything sent."""
    long = read_deployment(time_scale=COUNT_SCALE)
    counts = [f"({rule.expr}) * {SHORTEST_S * COUNT_SCALE}" for rule in availability(long)]
    # Recognitions, then searches, of which there are none.
    expected = pytest.approx([failed, total, 0, 0], rel=TOLERANCE)
    assert wait_for(lambda: read(prometheus, *counts) == expected), f"failed, all: {read(prometheus, *counts)}"
