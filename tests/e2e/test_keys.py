"""Who has no key changes nothing, and nobody reads a key where it does not belong: the server as `serve` starts it."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ops.server.local_server import LocalServer
from ops.settings import ADDRESS, Settings
from triptych import Client, PermissionDenied
from triptych._core.protocol import Question, TransportError
from triptych._transport.connection import Connection, parse_api_key
from triptych._transport.grpc_transport import GrpcTransport

# What each API that is closed answers: over HTTP, over gRPC, and whose key it wants.
CONTROL, MEMORY = "control", "memory"
CLOSED = [
    (Question("RepositoryIndex", "POST", "/v2/repository/index", body={}), CONTROL),
    (Question("RepositoryModelLoad", "POST", "/v2/repository/models/index/load", {"model_name": "index"}, {}), CONTROL),
    (Question("RepositoryModelUnload", "POST", "/v2/repository/models/no/unload", {"model_name": "no"}, {}), CONTROL),
    (Question("LogSettings", "GET", "/v2/logging"), CONTROL),
    (Question("TraceSetting", "GET", "/v2/trace/setting"), CONTROL),
    (Question("SystemSharedMemoryStatus", "GET", "/v2/systemsharedmemory/status"), MEMORY),
]


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """With the most talkative log."""
    folder = tmp_path_factory.mktemp("keyed") / "state"
    settings = Settings(http_port=0, grpc_port=0, metrics_port=0, state_dir=folder, log_level="verbose")
    with LocalServer(settings) as server:
        yield server


def ask_http(server: LocalServer, question: Question, key: str | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(ADDRESS, server.ports.http, timeout=30)
    headers = {} if key is None else dict([key.split("=", 1)])
    body = None if question.body is None else json.dumps(question.body)
    connection.request(question.verb, question.path, body, {**headers, "Connection": "close"})
    response = connection.getresponse()
    return response.status, response.read()


def ask_grpc(server: LocalServer, question: Question, key: str | None) -> Any:
    pair = None if key is None else parse_api_key(key)
    transport = GrpcTransport(Connection(server.grpc_target, "grpc", 1, None, "round_robin", pair, shared_memory=False))
    try:
        return transport.ask(question, timeout_s=30, headers={})
    finally:
        transport.close()


@pytest.mark.parametrize(("question", "owner"), CLOSED, ids=[question.rpc for question, _ in CLOSED])
def test_closed_api_wants_its_own_key_over_both_protocols(keyed: LocalServer, question: Question, owner: str) -> None:
    right, wrong = keyed.api_key, keyed.memory_key
    if owner == MEMORY:
        right, wrong = wrong, right
    for key in (None, "triptych-control-key=guess", "triptych-memory-key=guess", wrong):
        status, body = ask_http(keyed, question, key)
        assert status == http.client.FORBIDDEN, body
        with pytest.raises(TransportError, match="restricted"):
            ask_grpc(keyed, question, key)
    assert ask_http(keyed, question, right)[0] == http.client.OK
    ask_grpc(keyed, question, right)


def test_shared_memory_of_devices_is_offered_to_nobody(keyed: LocalServer) -> None:
    question = Question("CudaSharedMemoryStatus", "GET", "/v2/cudasharedmemory/status")
    assert ask_http(keyed, question, keyed.memory_key)[0] == http.client.NOT_IMPLEMENTED
    with pytest.raises(TransportError, match="not offered"):
        ask_grpc(keyed, question, keyed.memory_key)


def test_inference_health_and_statistics_want_none(keyed: LocalServer, photos: list[Path]) -> None:
    with Client(keyed.grpc_target) as client:
        assert client.recognize(photos[0]).labels
        assert client.health().ready
        assert client.statistics()
        assert {model.name for model in client.models()} >= {"recognizer", "index"}


def test_no_key_is_in_a_process_list_an_environment_or_a_log(keyed: LocalServer, photos: list[Path]) -> None:
    catalogue_key = keyed.catalogue_key_file.read_text().strip()
    with Client(keyed.grpc_target, catalogue_key=catalogue_key, api_key=keyed.api_key) as client:
        client.catalogue.upsert("a", photos[0])
        client.models()
        client.admin.load("catalogue")
    with Client(keyed.grpc_target, catalogue_key="0" * 64) as client, pytest.raises(PermissionDenied):
        client.catalogue.count()
    secrets = [key.rpartition("=")[2].encode() for key in (keyed.api_key, keyed.memory_key, catalogue_key)]
    assert all(len(secret) == 64 for secret in secrets)
    server = psutil.Process(keyed.pid)
    processes = [server, *server.children(recursive=True)]
    assert len(processes) > 5, "stubs too"
    for process in processes:
        for file in ("cmdline", "environ"):
            shown = Path(f"/proc/{process.pid}/{file}").read_bytes()
            assert not [secret for secret in secrets if secret in shown], (process, file)
    log = keyed.log_file.read_bytes()
    assert b"catalogue" in log
    assert not [secret for secret in secrets if secret in log]


def test_key_files_are_read_by_the_owner_alone(keyed: LocalServer) -> None:
    folder = keyed.settings.state_dir
    assert folder is not None
    for name in ("control.key", "memory.key", "catalogue.key"):
        status = (folder / name).stat()
        assert status.st_mode & 0o777 == 0o600, name
        assert status.st_uid == os.getuid()
    assert (folder / "memory.key").read_text() == keyed.memory_key
