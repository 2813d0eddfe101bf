"""The front beside its server: it comes back when it dies, refuses while the server stops, limits and logs requests."""

from __future__ import annotations

import http.client
import json
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from ops.settings import ADDRESS
from tests.faults.served import Served, serving, wait_for
from triptych import Client, ConnectionFailed, NotReady, Retry, TriptychError

CALLERS = 8
LIMIT = 200


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with serving(tmp_path / "state", "--access-log-percent=100", f"--requests-per-s={LIMIT}", "--cache-mb=0") as served:
        yield served


class Calls:
    """Callers that never pause and send nothing twice; each call's begin and its answer or error."""

    def __init__(self, target: str, photo: bytes) -> None:
        self.answers: list[tuple[float, float, str]] = []
        self._target, self._photo, self._is_over = target, photo, threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def __enter__(self) -> Calls:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with Client(self._target, retry=Retry(tries=1)) as client:
            while not self._is_over.is_set():
                began_s = time.monotonic()
                try:
                    client.embed(self._photo)
                    answer = "answered"
                except TriptychError as error:
                    answer = f"{type(error).__name__}: {error}"
                    self._is_over.wait(0.02)
                self.answers.append((began_s, time.monotonic(), answer))


def test_stop_answers_what_is_in_flight_and_refuses_what_comes(served: Served, photos: list[Path]) -> None:
    with Calls(served.target, photos[0].read_bytes()) as calls:
        assert wait_for(lambda: len(calls.answers) > 3 * CALLERS)
        served.supervisor.send_signal(signal.SIGTERM)
        asked_s = time.monotonic()
        assert wait_for(lambda: any("server is stopping" in answer for *_, answer in calls.answers))
        assert served.supervisor.wait(60) == 0
    in_flight = [answer for began_s, ended_s, answer in calls.answers if began_s < asked_s - 0.02 and ended_s > asked_s]
    assert set(in_flight) == {"answered"}
    later = Counter(answer.partition(":")[0] for began_s, _, answer in calls.answers if began_s >= asked_s)
    assert set(later) <= {"answered", "NotReady", "ConnectionFailed"}, "each of them may be sent again"


def test_front_that_dies_is_started_again(served: Served, photos: list[Path]) -> None:
    first, server = served.state.front, served.server_pid
    assert first is not None
    first.send(signal.SIGKILL)
    assert wait_for(lambda: served.state.front not in (None, first))
    with Client(served.target, retry=Retry(tries=1)) as client:
        assert wait_for(lambda: is_answered(client, photos[0]))
    assert served.server_pid == server, "the server itself went on"
    assert "the front ended" in served.said()


def is_answered(client: Client, photo: Path) -> bool:
    try:
        return bool(client.recognize(photo).labels)
    except (ConnectionFailed, NotReady):
        return False


def test_server_that_is_away_is_said_to_be(served: Served, photos: list[Path]) -> None:
    killed = served.state.server
    assert killed is not None
    killed.send(signal.SIGKILL)
    with Client(served.target, retry=Retry(tries=1)) as client:
        assert wait_for(lambda: "starting, stopping or restarting" in failure(client, photos[0]))
        assert wait_for(lambda: is_answered(client, photos[0]))
    assert served.state.server != killed


def failure(client: Client, photo: Path) -> str:
    try:
        client.recognize(photo)
    except TriptychError as error:
        return str(error)
    return ""


def ask_over_http(served: Served, path: str, times: int) -> Counter[tuple[int, str]]:
    with closing(http.client.HTTPConnection(ADDRESS, served.state.ports.http, timeout=30)) as connection:
        answers: Counter[tuple[int, str]] = Counter()
        for _ in range(times):
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
            answers[answer.status, text if answer.status != http.client.OK else ""] += 1
    return answers


def test_requests_beyond_the_rate_leave_health_over_http(served: Served) -> None:
    """A burst of twice the rate is answered, then the rate."""
    with ThreadPoolExecutor(CALLERS) as pool:
        calls = [pool.submit(ask_over_http, served, "/v2", LIMIT) for _ in range(2 * CALLERS)]
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/recognizer/ready"):
            assert set(ask_over_http(served, path, LIMIT)) == {(200, "")}
        answers = sum((call.result() for call in calls), Counter())
    ((status, text),) = [answer for answer in answers if answer != (200, "")]
    assert status == http.client.TOO_MANY_REQUESTS
    assert f"[queue_full] more than {LIMIT} requests a second, the limit of serve --requests-per-s" in text
    assert answers[200, ""] >= 2 * LIMIT


def test_requests_beyond_the_rate_are_refused_and_each_is_logged(served: Served, photos: list[Path]) -> None:
    with Client(served.target) as client:
        client.recognize(photos[0])
    with grpc.insecure_channel(served.target) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        asked = [stub.ServerMetadata.future(service_pb2.ServerMetadataRequest(), timeout=30) for _ in range(5 * LIMIT)]
        refused = [call.exception() for call in asked if call.exception() is not None]
        probes = [stub.ServerLive.future(service_pb2.ServerLiveRequest(), timeout=30) for _ in range(5 * LIMIT)]
        assert [call.exception() for call in probes if call.exception() is not None] == []
    assert 0 < len(refused) < len(asked)
    assert {error.code() for error in refused} == {grpc.StatusCode.UNAVAILABLE}
    assert f"[queue_full] more than {LIMIT} requests a second" in refused[0].details()
    assert "--requests-per-s" in refused[0].details()
    log = served.folder.folder / "access.log"
    assert wait_for(lambda: len(log.read_text().splitlines()) > 10 * LIMIT)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    paths = Counter((line["path"], line["protocol"]) for line in lines)
    assert paths["/inference.GRPCInferenceService/ServerMetadata", "grpc"] == len(asked)
    assert paths["/inference.GRPCInferenceService/ModelInfer", "grpc"] == 1
    assert log.stat().st_mode & 0o777 == 0o600
    for key in ("control.key", "catalogue.key"):
        assert (served.folder.folder / key).read_text().strip() not in log.read_text()
