"""`python -m ops` against the real server, with models small enough to load in a quarter of a second."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import trustme

from ops.errors import OpsError, ServerFailed
from ops.server import probe
from ops.server.local_server import LocalServer
from ops.server.processes import ProcessIdentity, find_stubs
from ops.server.state import ServerState, StateFolder
from ops.settings import REPOSITORY, ROOT, Settings
from ops.supervision.serve import serve_detached

FREE_PORTS = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]
STEP_S = 0.15
CALLERS = 8
PATIENCE_S = 30.0

STEP_CONFIG = """
backend: "python"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { }
"""
STEP_MODEL = f"""
import time
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        time.sleep({STEP_S})
        inputs = [pb_utils.get_input_tensor_by_name(request, "x").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", one + 1)]) for one in inputs]
"""
BROKEN_MODEL = """
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def initialize(self, args):
        raise pb_utils.TritonModelException("one: no weights at /nowhere. Place them with `make build`.")
"""
SAVING_MODEL = (
    STEP_MODEL
    + """
    def finalize(self):
        with open({marker!r}, "w") as marker:
            marker.write("saved")
"""
)
CHAIN_CONFIG = """
platform: "ensemble"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 1 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 1 ] } ]
ensemble_scheduling { step [
  { model_name: "one" model_version: -1 input_map { key: "x" value: "x" } output_map { key: "y" value: "mid" } },
  { model_name: "two" model_version: -1 input_map { key: "x" value: "mid" } output_map { key: "y" value: "y" } }
] }
"""


def write_model(repository: Path, name: str, config: str, source: str | None) -> None:
    folder = repository / "models" / name
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(f'name: "{name}"\n{config}')
    if source is not None:
        (folder / "1/model.py").write_text(source)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One Python model, `one`, that waits a little and adds 1."""
    folder = tmp_path / "repository"
    write_model(folder, "one", STEP_CONFIG, STEP_MODEL)
    return folder


@pytest.fixture
def chain(repository: Path) -> Path:
    """Two such models and the ensemble `chain` of both."""
    write_model(repository, "two", STEP_CONFIG, STEP_MODEL)
    write_model(repository, "chain", CHAIN_CONFIG, None)
    return repository


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    """A state folder; whatever still runs from it at the end is stopped."""
    yield tmp_path / "state"
    run("stop", f"--state-dir={tmp_path / 'state'}")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ops", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def wait_for(condition: Callable[[], bool]) -> bool:
    deadline_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline_s:
        if condition():
            return True
        time.sleep(0.02)
    return False


def read_state(state_dir: Path) -> ServerState:
    state = StateFolder(state_dir).read()
    assert state is not None
    return state


def call(target: str, model: str, value: float) -> float:
    tensor = triton_grpc.InferInput("x", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.full((1, 1), value, np.float32))
    client = triton_grpc.InferenceServerClient(target)
    try:
        return float(client.infer(model, [tensor]).as_numpy("y").item())
    finally:
        client.close()


def segments(state: ServerState) -> list[Path]:
    return list(Path("/dev/shm").glob(f"{state.segment_prefix}*"))


def is_gone(state: ServerState) -> bool:
    assert state.server is not None
    return not (state.server.is_running() or find_stubs(state.segment_prefix) or segments(state))


def test_server_answers_and_leaves_nothing_when_left(repository: Path, state_dir: Path) -> None:
    settings = Settings(repository, http_port=0, grpc_port=0, metrics_port=0, state_dir=state_dir)
    with LocalServer(settings) as server:
        assert [model.name for model in server.models] == ["one"]
        assert call(server.grpc_target, "one", 1.0) == 2.0
        state = read_state(state_dir)
        assert segments(state)
        assert state.server == ProcessIdentity.of(server.pid)
    assert is_gone(state)
    assert StateFolder(state_dir).read() is None


def test_finalize_runs_when_a_model_has_one(repository: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (repository / "models/one/1/model.py").write_text(SAVING_MODEL.format(marker=str(marker)))
    with LocalServer(Settings(repository, http_port=0, grpc_port=0, metrics_port=0)):
        assert not marker.exists()
    assert marker.read_text() == "saved"


def test_idle_http_connection_does_not_hold_up_a_stop(repository: Path) -> None:
    settings = Settings(repository, http_port=0, grpc_port=0, metrics_port=0, exit_timeout_s=20)
    with LocalServer(settings) as server, socket.create_connection(("127.0.0.1", server.ports.http)) as connection:
        connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        started_s = time.monotonic()
        server.stop()
        assert time.monotonic() - started_s < 5


def test_detached_server_is_ready_guarded_and_stopped(repository: Path, state_dir: Path) -> None:
    where = f"--state-dir={state_dir}"
    started = run("serve", "--detach", where, f"--repository={repository}", *FREE_PORTS)
    assert started.returncode == 0, started.stderr
    state = read_state(state_dir)
    assert state.ports.grpc_target in started.stdout

    shown = json.loads(run("status", "--json", where).stdout)
    assert (shown["phase"], shown["pid"]) == ("ready", state.supervisor.pid)
    assert shown["models"] == [{"name": "one", "version": "1", "state": "READY"}]
    assert shown["memory"]["processes"] == 2

    second = run("serve", where, f"--repository={repository}", *FREE_PORTS)
    assert second.returncode == 1
    assert f"pid {state.supervisor.pid}" in second.stderr
    assert state.ports.grpc_target in second.stderr
    assert call(state.ports.grpc_target, "one", 1.0) == 2.0

    assert run("stop", where).returncode == 0
    assert is_gone(state)
    again = run("stop", where)
    assert (again.returncode, "No server runs" in again.stdout) == (0, True)
    assert run("status", where).returncode == 1


def test_taken_port_is_refused_before_starting(repository: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with (
            pytest.raises(OpsError, match=rf"Port {port} \(grpc\) is taken by pid {os.getpid()}"),
            LocalServer(Settings(repository, http_port=0, grpc_port=port, metrics_port=0)),
        ):
            pass


@pytest.fixture
def supervisor(chain: Path, state_dir: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    """`serve` of the chain, ready, with the options of the test; killed at the end if it still runs."""
    words = ["serve", f"--state-dir={state_dir}", f"--repository={chain}", *FREE_PORTS, *getattr(request, "param", [])]
    log = (state_dir.parent / "supervisor").open("wb")
    with log, subprocess.Popen([sys.executable, "-m", "ops", *words], cwd=ROOT, stdout=log, stderr=log) as process:

        def is_ready() -> bool:
            state = StateFolder(state_dir).read()
            return state is not None and state.phase == "ready"

        assert wait_for(is_ready), log.name
        yield process
        process.kill()


def test_sigterm_loses_no_request_in_flight(supervisor: subprocess.Popen[bytes], state_dir: Path) -> None:
    state = read_state(state_dir)
    call(state.ports.grpc_target, "chain", 0.0)
    all_sent = threading.Barrier(CALLERS + 1)

    def send(value: float) -> float:
        all_sent.wait(PATIENCE_S)
        return call(state.ports.grpc_target, "chain", value)

    with ThreadPoolExecutor(CALLERS) as pool:
        answers = [pool.submit(send, float(value)) for value in range(CALLERS)]
        all_sent.wait(PATIENCE_S)
        time.sleep(STEP_S / 2)  # in the middle of the first step
        supervisor.send_signal(signal.SIGTERM)
        assert [answer.result(PATIENCE_S) for answer in answers] == [value + 2.0 for value in range(CALLERS)]
    assert supervisor.wait(PATIENCE_S) == 0
    assert is_gone(state)


def test_second_signal_stops_at_once(supervisor: subprocess.Popen[bytes], state_dir: Path) -> None:
    state = read_state(state_dir)
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(call, state.ports.grpc_target, "chain", 0.0)
        time.sleep(STEP_S / 2)
        supervisor.send_signal(signal.SIGINT)
        time.sleep(0.05)
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(PATIENCE_S) == 0
        with pytest.raises(triton_grpc.InferenceServerException):
            lost.result(PATIENCE_S)
    assert is_gone(state)


def test_killed_supervisor_takes_the_server_along(supervisor: subprocess.Popen[bytes], state_dir: Path) -> None:
    state = read_state(state_dir)
    supervisor.kill()
    assert wait_for(lambda: is_gone(state))


@pytest.mark.parametrize("supervisor", [["--no-restart"]], indirect=True)
def test_killed_server_is_reported_with_exit_1(supervisor: subprocess.Popen[bytes], state_dir: Path) -> None:
    state = read_state(state_dir)
    assert state.server is not None
    state.server.send(signal.SIGKILL)
    assert supervisor.wait(PATIENCE_S) == 1
    assert "ended unexpectedly (killed by SIGKILL)" in (state_dir.parent / "supervisor").read_text()
    assert wait_for(lambda: is_gone(state))


def test_start_clears_what_a_killed_run_left(
    supervisor: subprocess.Popen[bytes], state_dir: Path, repository: Path
) -> None:
    state = read_state(state_dir)
    left = Path("/dev/shm") / f"{state.segment_prefix}left"
    left.write_bytes(b"x")
    supervisor.kill()
    supervisor.wait(PATIENCE_S)
    settings = Settings(repository, http_port=0, grpc_port=0, metrics_port=0, state_dir=state_dir)
    with LocalServer(settings):
        assert is_gone(state)


def test_model_that_fails_to_load_says_so_itself(repository: Path, state_dir: Path) -> None:
    (repository / "models/one/1/model.py").write_text(BROKEN_MODEL)
    failed = run("serve", f"--state-dir={state_dir}", f"--repository={repository}", *FREE_PORTS)
    assert failed.returncode == 1
    first, log = failed.stderr.splitlines()
    assert first == "error: Model one did not load: no weights at /nowhere. Place them with `make build`."
    assert log == f"Full log: {state_dir / 'server-1.log'}"
    assert StateFolder(state_dir).read() is None


def test_detached_start_fails_with_the_same_sentence(repository: Path, state_dir: Path) -> None:
    (repository / "models/one/1/model.py").write_text(BROKEN_MODEL)
    failed = run("serve", "--detach", f"--state-dir={state_dir}", f"--repository={repository}", *FREE_PORTS)
    assert failed.returncode == 1
    assert "Model one did not load: no weights" in failed.stderr


def test_model_whose_process_dies_at_once_is_not_waited_for(repository: Path, state_dir: Path) -> None:
    """Triton itself would wait without end."""
    (repository / "models/one/1/model.py").unlink()
    settings = Settings(repository, http_port=0, grpc_port=0, metrics_port=0, state_dir=state_dir)
    with pytest.raises(ServerFailed, match="Python model file not found"), LocalServer(settings):
        pass


def test_relative_file_of_a_server_option_is_one_of_the_users_folder(
    repository: Path, state_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server itself works in another folder."""
    certificate = trustme.CA().issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "tls.key")
    monkeypatch.chdir(tmp_path)
    options = ("--grpc-use-ssl=true", "--grpc-server-cert=./tls.crt", "--grpc-server-key=tls.key")
    settings = Settings(
        repository, http_port=0, grpc_port=0, metrics_port=0, state_dir=state_dir, server_options=options
    )
    with LocalServer(settings) as server:
        assert Path(f"/proc/{server.pid}/cwd").samefile(state_dir / "serving")


@pytest.mark.parametrize(("command", "more"), [("serve", FREE_PORTS), ("check", FREE_PORTS), ("run", ["--", "true"])])
def test_repository_of_an_earlier_version_is_refused_with_what_to_do(
    command: str, more: list[str], repository: Path
) -> None:
    refused = run(command, f"--repository={repository / 'models'}", *more)
    assert refused.returncode == 1
    assert "Make the release again with `triptych release`" in refused.stderr + refused.stdout


def test_unplaced_repository_names_make_export(tmp_path: Path) -> None:
    for config in REPOSITORY.glob("models/*/config.pbtxt"):
        model = tmp_path / config.parent.relative_to(REPOSITORY)
        (model / "1").mkdir(parents=True)
        (model / "config.pbtxt").write_text(config.read_text())
    settings = Settings(tmp_path, http_port=0, grpc_port=0, metrics_port=0)
    with pytest.raises(OpsError, match=r"not placed: missing .*labels\.txt.*make build"), LocalServer(settings):
        pass


def test_refused_start_touches_nothing_of_the_server_that_runs(tmp_path: Path) -> None:
    state = tmp_path / "state"
    settings = Settings(REPOSITORY, http_port=0, grpc_port=0, metrics_port=0, state_dir=state)

    def files() -> set[Path]:
        return {path.relative_to(state) for path in state.rglob("*") if "__pycache__" not in path.parts}

    with LocalServer(settings) as server:
        (state / "supervisor.log").write_text("of the one that runs")
        before = files()
        for refused in (settings, dataclasses.replace(settings, profile="none-such")):
            with pytest.raises(OpsError), LocalServer(refused):
                pass
        with pytest.raises(OpsError, match="already runs"):
            serve_detached(settings, quiet=True)
        assert files() >= before
        assert (state / "supervisor.log").read_text() == "of the one that runs"
        assert probe.is_ready(server.ports)
