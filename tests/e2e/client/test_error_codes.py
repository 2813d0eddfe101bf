"""Every error code, from the real server to the exception: over both transports, blocking and in an event loop."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from ops.server.local_server import LocalServer
from ops.settings import DEFAULT_PROFILE, REPOSITORY, Settings
from tests.e2e.client.error_cases import CASES, Case
from triptych import AsyncClient, Client, Retry, TriptychError
from triptych._core.protocol import TransportError

ONCE = Retry(tries=1)
NOT_BARE = ("searcher", "index", "catalogue", "explainer", "activation_map")


def repository_in(folder: Path, *, without: tuple[str, ...] = ()) -> Path:
    """A copy of the placed repository for a test to change, but for the models left out."""
    repository = folder / "repository"
    shutil.copytree(REPOSITORY, repository, ignore=shutil.ignore_patterns("__pycache__", "manifest.json"))
    for model in without:
        shutil.rmtree(repository / "models" / model)
    return repository


def server_of(repository: Path = REPOSITORY, catalogue: Path | None = None) -> LocalServer:
    return LocalServer(
        Settings(repository=repository, http_port=0, grpc_port=0, metrics_port=0, catalogue_dir=catalogue)
    )


def owner_of(server: LocalServer) -> Client:
    """Holds the keys of the catalogue and of the models."""
    return Client(server.grpc_target, catalogue_key=key_of(server), api_key=server.api_key, timeout_s=30)


def key_of(server: LocalServer) -> str:
    return server.catalogue_key_file.read_text().strip()


def change(catalogue: Path, statement: str, *values: str) -> None:
    """Changes the catalogue's file behind the server's back."""
    with closing(sqlite3.connect(catalogue / "catalogue.sqlite3", timeout=30)) as file, file:
        file.execute(statement, values)


@pytest.fixture(scope="module")
def doctored(tmp_path_factory: pytest.TempPathFactory, photos: list[Path]) -> Iterator[LocalServer]:
    """A server whose catalogue another network seems to have made, and in which a row is torn."""
    folder = tmp_path_factory.mktemp("doctored")
    with server_of(catalogue=folder) as server:
        with owner_of(server) as owner:
            owner.catalogue.upsert("torn", photos[0])
            owner.search(photos[0])
        change(folder, "UPDATE photos SET fields = ?", '{"price": ')
        change(folder, "DELETE FROM checksums")  # with them the torn row would be found, and named as such
        change(folder, "UPDATE meta SET value = ? WHERE key = 'fingerprint'", "0" * 16)
        yield server


@pytest.fixture(scope="module")
def unloaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server without `recognizer` and `index`, so that a rebuild stays due; its catalogue's file has lost a table."""
    folder = tmp_path_factory.mktemp("unloaded")
    with server_of(catalogue=folder) as server:
        with owner_of(server) as owner:
            for model in ("index", "recognizer"):
                owner.admin.unload(model)
            # Unloading goes on behind the answer, and an index that is still there would rebuild.
            while {model.name: model.state for model in owner.models()}["index"] != "UNAVAILABLE":
                time.sleep(0.05)
            owner.catalogue.rebuild(wait=False)
        change(folder, "DROP TABLE commits")
        yield server


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server of a repository that recognises, and nothing else."""
    folder = tmp_path_factory.mktemp("bare")
    with server_of(repository_in(folder, without=NOT_BARE)) as server:
        yield server


@pytest.fixture(scope="module")
def unexplainable(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server of a network without activation maps."""
    repository = repository_in(tmp_path_factory.mktemp("unexplainable"))
    about = repository / "models/activation_map/1/explanation.json"
    said = {**json.loads(about.read_text()), "unexplainable": "This network has no activation maps."}
    about.write_text(json.dumps(said))
    with server_of(repository) as server:
        yield server


@pytest.fixture(scope="module")
def distributed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server whose distributed search engine is away."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPTYCH_CATALOGUE_WEAVIATE", "http://127.0.0.1:1")
        with server_of() as server:
            yield server


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A server that takes a photo at a time, lets few wait and those not for long."""
    repository = repository_in(tmp_path_factory.mktemp("crowded"), without=("searcher",))
    file = repository / f"models/recognizer/configs/{DEFAULT_PROFILE}.pbtxt"
    config = text_format.Parse(file.read_text(encoding="utf-8"), ModelConfig())
    config.instance_group[0].count = 1
    config.max_batch_size = 1
    config.dynamic_batching.ClearField("preferred_batch_size")
    config.dynamic_batching.default_queue_policy.max_queue_size = 8
    config.dynamic_batching.default_queue_policy.default_timeout_microseconds = 50_000
    file.write_text(text_format.MessageToString(config), encoding="utf-8")
    with server_of(repository) as server:
        yield server


@pytest.fixture(scope="module")
def nobody() -> None:
    """No server."""


def error_of(case: Case, server: LocalServer | None, transport: str, photo: bytes, *, is_async: bool) -> TriptychError:
    """What the call raises."""
    target = "127.0.0.1:1"
    if server is not None:
        target = server.grpc_target if transport == "grpc" else server.http_url
    options: dict[str, Any] = {"transport": transport, "retry": ONCE, "timeout_s": 30, "private_urls": True}
    if case.has_key:
        assert server is not None
        options["catalogue_key"] = key_of(server)

    async def ask() -> None:
        async with AsyncClient(target, **options) as client:
            await case.call(client, photo)

    if is_async:
        with pytest.raises(TriptychError) as caught:
            asyncio.run(ask())
    else:
        with Client(target, **options) as client, pytest.raises(TriptychError) as caught:
            case.call(client, photo)
    return caught.value


@pytest.mark.parametrize("is_async", [False, True], ids=["blocking", "async"])
@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_code_reaches_the_caller_when_the_server_says_it(
    case: Case, transport: str, is_async: bool, photos: list[Path], request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(case.server)
    error = error_of(case, server, transport, photos[0].read_bytes(), is_async=is_async)
    assert (type(error), error.code) == (case.error, case.code), error
    assert f"[{case.code}]" not in str(error)
    assert "in ensemble" not in str(error)
    assert "request id: " not in str(error)
    if case.wire is not None:
        assert isinstance(error.__cause__, TransportError)
        assert error.__cause__.detail.startswith(case.wire)
        assert error.request_id
