"""The rendered front before the real server: Envoy and Triton 2.51.0 of the wheels, as the pod runs them."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ops.packaging.chart_front import ADMIN, INNER, PUBLIC
from ops.server.ports import choose_ports
from ops.settings import REPOSITORY, Ports
from tests.chart.matrix import merged
from tests.chart.rendering import Values, render
from tests.chart.test_server_arguments import KEY, OLD, arguments
from tests.e2e.bare_server import BareServer, started
from triptych import Client

PATIENCE_S = 60.0
# A connection that old is closed, so that HTTP callers reach new pods too.
YOUNG: Values = {"triton": {"grpc": {"maxConnectionAgeSeconds": 2, "maxConnectionAgeGraceSeconds": 1}}}


@contextmanager
def fronted(folder: Path, server: BareServer, values: Values) -> Iterator[Ports]:
    """The ports of Envoy with the rendered configuration, on loopback and free ports."""
    envoy = shutil.which("envoy", path=str(Path(sys.executable).parent))
    assert envoy is not None
    rendered, ports = render(merged(OLD, values)), choose_ports(0, 0, 0)
    config = json.dumps(rendered.front_config()).replace(ADMIN, "admin.sock").replace('"0.0.0.0"', '"127.0.0.1"')
    for name in PUBLIC:
        for before, after in ((PUBLIC[name], getattr(ports, name)), (INNER[name], getattr(server.ports, name))):
            config = config.replace(f'"port_value": {before}}}', f'"port_value": {after}}}')
    (folder / "front.json").write_text(config)
    words = [word.replace("/etc/front", str(folder)) for word in rendered.front()["command"][1:]]
    with (folder / "front.log").open("wb") as log:
        process = subprocess.Popen([envoy, *words], cwd=folder, stdout=log, stderr=log, env={"PATH": os.defpath})
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while status(ports, "GET", "/v2/health/ready") != http.client.OK:
            assert process.poll() is None, (folder / "front.log").read_text()
            assert time.monotonic() < deadline_s, (folder / "front.log").read_text()
            time.sleep(0.1)
        yield ports
    finally:
        process.terminate()
        process.wait()


def status(
    ports: Ports, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> int:
    """0 if nothing listens."""
    connection = http.client.HTTPConnection("127.0.0.1", ports.http, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        return connection.getresponse().status
    except ConnectionRefusedError:
        return 0
    finally:
        connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareServer]:
    if not (REPOSITORY / "manifest.json").exists():
        pytest.skip(f"no models in {REPOSITORY}: run `make build`")
    with started(tmp_path_factory.mktemp("server"), arguments({}, {})) as found:
        assert found.becomes_ready(), found.log_file.read_text()[-3000:]
        yield found


def test_front_answers_photos_and_refuses_what_triton_must_not_read(
    server: BareServer, tmp_path: Path, photos: list[Path]
) -> None:
    with fronted(tmp_path, server, {"front": {"accessLog": 100}}) as ports:
        with Client(f"127.0.0.1:{ports.grpc}") as client:
            assert client.recognize(photos[0]).labels[0].score > 0
        infer = "/v2/models/recognizer/infer"
        raw = {"Inference-Header-Content-Length": "0"}
        assert status(ports, "POST", infer, photos[0].read_bytes(), raw) == http.client.OK
        assert status(ports, "POST", infer, b"x", raw | {"Content-Encoding": "gzip"}) == 415
        assert status(ports, "POST", "/v2/repository/index", b"{}") == http.client.FORBIDDEN
        assert status(ports, "POST", "/v2/repository/index", b"{}", {"triptych-key": KEY}) == http.client.OK
    lines = [json.loads(line) for line in (tmp_path / "front.log").read_text().splitlines() if line.startswith("{")]
    assert [line["status"] for line in lines if line["path"] == "/v2/models/recognizer/infer"] == [200, 415]
    assert "grpc" in [line["protocol"] for line in lines]
    assert KEY not in (tmp_path / "front.log").read_text()


def test_front_closes_connections_of_http_at_their_age(server: BareServer, tmp_path: Path) -> None:
    with fronted(tmp_path, server, YOUNG) as ports:
        connection = http.client.HTTPConnection("127.0.0.1", ports.http, timeout=30)
        deadline_s = time.monotonic() + PATIENCE_S
        asked_to_close = False
        while not asked_to_close:
            assert time.monotonic() < deadline_s, "the connection is kept"
            connection.request("GET", "/v2/health/live")
            answer = connection.getresponse()
            answer.read()
            assert answer.status == http.client.OK
            asked_to_close = answer.getheader("connection") == "close"
            time.sleep(0.1)
        connection.close()


def test_triton_lives_on_when_callers_send_what_ends_it(server: BareServer, tmp_path: Path) -> None:
    """The published attacks on 24.10 that need no key; `ops/packaging/vulnerabilities.yaml` names this file."""
    infer = "/v2/models/recognizer/infer"
    with fronted(tmp_path, server, {}) as ports:
        assert send_chunks(ports, infer, 600_000) == 400
        assert status(ports, "POST", infer, b"[" * 400_000 + b"]" * 400_000) == 400
        assert status(ports, "POST", infer, bytes(65 << 20), {"Inference-Header-Content-Length": "0"}) == 413
        assert status(ports, "GET", "/v2/health/live", headers={"x": "y" * (40 << 10)}) == 431
        assert status(ports, "GET", "/v2/health/live", headers={f"x-{n}": "y" for n in range(80)}) == 431
        # The endpoints of SageMaker and Vertex AI ask for no key.
        for path in ("/models", "/invocations", "/ping", "/v2/../models", "/v2/%2e%2e/models"):
            assert status(ports, "GET", path) == http.client.NOT_FOUND
        assert status(ports, "GET", "/v2/health/ready") == http.client.OK
    assert server.process.poll() is None


def test_triton_listens_on_the_three_ports_of_the_arguments_only(server: BareServer) -> None:
    """None for SageMaker or Vertex AI, whose calls avoid the keys."""
    listening = [
        each.laddr
        for each in psutil.Process(server.process.pid).net_connections("inet")
        if each.status == psutil.CONN_LISTEN
    ]
    assert {address.port for address in listening} == {server.ports.http, server.ports.grpc, server.ports.metrics}
    assert {address.ip.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}


def send_chunks(ports: Ports, path: str, count: int) -> int:
    """Sends a body of one-byte chunks and returns the status of the answer."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", ports.http), timeout=60) as connection:
        connection.sendall(head + b"1\r\nx\r\n" * count + b"0\r\n\r\n")
        return int(connection.makefile("rb").readline().split()[1])
